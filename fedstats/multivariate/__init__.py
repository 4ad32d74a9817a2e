"""Multivariate analysis of the rows of all sites."""

from fedstats.multivariate.kmeans import KMeansResult, kmeans
from fedstats.multivariate.pca import PCAResult, pca

__all__ = ["KMeansResult", "PCAResult", "kmeans", "pca"]
