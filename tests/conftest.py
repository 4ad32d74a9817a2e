"""Settings common to all tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from hypothesis import settings

# The first example of a test may wait for numba to compile: no deadline by the clock.
settings.register_profile("fedstats", deadline=None)
settings.load_profile("fedstats")


@pytest.fixture(autouse=True)
def no_figure_is_left_open() -> Iterator[None]:
    """Close what a test has drawn: pyplot keeps figures, and warns of many."""
    yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")
