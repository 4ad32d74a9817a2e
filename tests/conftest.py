"""Settings common to all tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import settings

# Several tests run at a time, each of several sites: more threads for each product of matrices only wait for
# one another. And dozens of tests start processes that import everything, which compiled modules halve.
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# The first example of a test may wait for numba to compile: no deadline by the clock.
settings.register_profile("fedstats", deadline=None)
settings.load_profile("fedstats")


@pytest.fixture(autouse=True)
def no_figure_is_left_open() -> Iterator[None]:
    """Close what a test has drawn: pyplot keeps figures, and warns of many."""
    yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")
