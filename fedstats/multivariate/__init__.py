"""Multivariate analysis of the rows of all sites."""

from fedstats.multivariate.pca import PCAResult, pca

__all__ = ["PCAResult", "pca"]
