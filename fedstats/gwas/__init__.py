"""Genome-wide association over unpooled genotypes."""

from fedstats.gwas.interaction import InteractionResult, interaction
from fedstats.gwas.linear import linear
from fedstats.gwas.logistic import logistic
from fedstats.gwas.meta import GWASMetaResult, meta_analysis
from fedstats.gwas.pca import PCAResult, pca
from fedstats.gwas.qc import QCResult, qc
from fedstats.gwas.results import GWASResult
from fedstats.gwas.score import ScoreResult, score
from fedstats.gwas.screen import ScreenResult, screen
from fedstats.gwas.synthetic import SiteFiles, SyntheticCohort, simulate_cohort

__all__ = [
    "GWASMetaResult",
    "GWASResult",
    "InteractionResult",
    "PCAResult",
    "QCResult",
    "ScoreResult",
    "ScreenResult",
    "SiteFiles",
    "SyntheticCohort",
    "interaction",
    "linear",
    "logistic",
    "meta_analysis",
    "pca",
    "qc",
    "score",
    "screen",
    "simulate_cohort",
]
