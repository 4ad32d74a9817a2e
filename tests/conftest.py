"""Settings common to all tests."""

from __future__ import annotations

from hypothesis import settings

# The first example of a test may wait for numba to compile: no deadline by the clock.
settings.register_profile("fedstats", deadline=None)
settings.load_profile("fedstats")
