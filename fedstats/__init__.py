"""Pooled statistics and GWAS over sites that may not pool their rows."""
