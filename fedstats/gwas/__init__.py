"""Genome-wide association over unpooled genotypes."""

from fedstats.gwas.linear import linear
from fedstats.gwas.results import GWASResult

__all__ = ["GWASResult", "linear"]
