"""Genome-wide association over unpooled genotypes."""

from fedstats.gwas.linear import linear
from fedstats.gwas.results import GWASResult
from fedstats.gwas.synthetic import SiteFiles, SyntheticCohort, simulate_cohort

__all__ = ["GWASResult", "SiteFiles", "SyntheticCohort", "linear", "simulate_cohort"]
