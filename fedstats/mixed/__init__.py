"""Mixed models of the rows of all sites."""

from fedstats.mixed._results import GLMMResult, LMMResult, MixedResult
from fedstats.mixed.glmm import glmm
from fedstats.mixed.lmm import lmm

__all__ = ["GLMMResult", "LMMResult", "MixedResult", "glmm", "lmm"]
