"""Two things measured in turn, so that both see the same machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any


def compare(
    benchmark: Any, ours: Callable[[], object], peer: str, theirs: Callable[[], object], *, turns: int
) -> None:
    """Run both once to warm up, then in turn; leave the peer's median and the ratio in `extra_info`."""
    seconds: list[float] = []

    def their_turn() -> None:
        start = time.perf_counter()
        theirs()
        seconds.append(time.perf_counter() - start)

    benchmark.pedantic(ours, setup=their_turn, rounds=turns, warmup_rounds=1)
    peer_seconds = statistics.median(seconds[1:])
    benchmark.extra_info |= {
        "peer": peer,
        "peer_seconds": peer_seconds,
        "ratio": benchmark.stats.stats.median / peer_seconds,
    }
