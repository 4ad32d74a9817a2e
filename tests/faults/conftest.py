"""Fixtures of the fault tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from transport.loopback import LoopbackFederation, loopback_federation


@pytest.fixture
def loopback(tmp_path: Path) -> Callable[..., LoopbackFederation]:
    """Make a federation of the given sites in a fresh directory."""

    def make(*names: str, **options: object) -> LoopbackFederation:
        return loopback_federation(names, tmp_path / "federation", **options)  # type: ignore[arg-type]

    return make
