"""Benchmarks: fedstats and a peer, measured in the same run; ``python -m benchmarks`` runs them all."""
