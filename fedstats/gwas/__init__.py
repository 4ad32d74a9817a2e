"""Genome-wide association over unpooled genotypes."""
