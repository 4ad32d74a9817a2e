"""How good predictions are, over the rows of all sites."""

from fedstats.evaluation.brier import BrierResult, brier
from fedstats.evaluation.calibration import CalibrationResult, calibration
from fedstats.evaluation.operating_points import OperatingPointsResult, operating_points
from fedstats.evaluation.roc import ROCResult, roc

__all__ = [
    "BrierResult",
    "CalibrationResult",
    "OperatingPointsResult",
    "ROCResult",
    "brier",
    "calibration",
    "operating_points",
    "roc",
]
