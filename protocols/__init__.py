"""Multiparty computation: protocols between parties that trust the mesh and not each other."""

import sys

if sys.byteorder != "little":
    raise ImportError("fedstats computes on little-endian words and does not support big-endian machines")
