"""Multivariate analysis of the rows of all sites."""

from fedstats.multivariate.factor_analysis import FactorAnalysisResult, factor_analysis
from fedstats.multivariate.kmeans import KMeansResult, kmeans
from fedstats.multivariate.pca import PCAResult, pca

__all__ = ["FactorAnalysisResult", "KMeansResult", "PCAResult", "factor_analysis", "kmeans", "pca"]
