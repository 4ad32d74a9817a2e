"""Going through the variants in blocks: the next block is read while one's sums are on their way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

from fedstats._progress import progress

if TYPE_CHECKING:
    from fedstats.analysis import Analysis

#: Variants whose sums travel together: enough that rounds cost little, few enough to hold easily.
BLOCK: Final = 2048

T = TypeVar("T")


def blocks(
    run: Analysis, variants: int, local: Callable[[slice], T], most: int | None = None
) -> Iterator[tuple[int, slice, T]]:
    """Compute on blocks of variants one ahead of the caller, who opens sums meanwhile.

    Parameters
    ----------
    run
        The analysis, whose progress is drawn.
    variants
        How many there are; at least one.
    local
        What to compute of a block, given its place among the variants. Runs in another thread, releases
        the GIL for most of its time, and sends nothing.
    most
        How many variants a block may have, if that is less than `BLOCK`.

    Yields
    ------
    number, part, result
        The block's number and place, and what `local` returned.
    """
    length = BLOCK if most is None else min(BLOCK, most)
    parts = [slice(start, min(start + length, variants)) for start in range(0, variants, length)]
    with (
        ThreadPoolExecutor(1) as ahead,
        progress(run.federation, run.declaration.name, len(parts)) as advance,
    ):
        coming = ahead.submit(local, parts[0])
        for number, part in enumerate(parts):
            result = coming.result()
            if number + 1 < len(parts):
                coming = ahead.submit(local, parts[number + 1])
            yield number, part, result
            advance()
