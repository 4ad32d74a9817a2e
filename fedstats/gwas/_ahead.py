"""Going through the variants in blocks: the next ones are read while one's sums are on their way."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from fedstats._progress import progress

if TYPE_CHECKING:
    from fedstats.analysis import Analysis

#: Variants whose sums travel together: enough that rounds cost little, few enough to hold easily.
BLOCK: Final = 2048

T = TypeVar("T")


def blocks(
    run: Analysis,
    variants: int,
    local: Callable[[slice], T],
    *,
    done: int = 0,
    most: int | None = None,
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
    done
        So many blocks are finished already, and left out.
    most
        How many variants a block may have, if that is less than `BLOCK`.

    Yields
    ------
    number, part, result
        The block's number and place, and what `local` returned.
    """
    return tasks(run, variants, lambda part: partial(local, part), done=done, most=most)


def tasks(
    run: Analysis,
    variants: int,
    task: Callable[[slice], Callable[[], T]],
    *,
    done: int = 0,
    most: int | None = None,
    executor: Executor | None = None,
) -> Iterator[tuple[int, slice, T]]:
    """Do the same by an executor of the caller's, which is kept busy.

    Parameters
    ----------
    run, variants, done, most
        As of `blocks`.
    task
        Returns what is to be called for a block, given its place; of an executor of processes, it and what
        it returns must be fit to be pickled.
    executor
        One thread by default, one block ahead. It is not shut down.

    Yields
    ------
    number, part, result
        As of `blocks`, in order.
    """
    length = BLOCK if most is None else min(BLOCK, most)
    parts = [slice(start, min(start + length, variants)) for start in range(0, variants, length)]
    if done == len(parts):
        return
    todo = deque(enumerate(parts[done:], done))
    coming: deque[tuple[int, slice, Future[T]]] = deque()
    ahead = 1 if executor is None else _ahead(executor)
    with (
        ThreadPoolExecutor(1) if executor is None else nullcontext(executor) as worker,
        progress(run.federation, run.declaration.name, len(parts)) as advance,
    ):

        def submit() -> None:
            while todo and len(coming) < ahead:
                number, part = todo.popleft()
                coming.append((number, part, worker.submit(task(part))))

        advance(done)
        submit()
        try:
            while coming:
                number, part, future = coming.popleft()
                result = future.result()
                submit()
                yield number, part, result
                advance()
        finally:
            for _, _, future in coming:
                future.cancel()


def _ahead(executor: Executor) -> int:
    """Return how many blocks keep an executor busy: two for each worker, as far as it tells how many."""
    return 2 * int(getattr(executor, "_max_workers", None) or os.cpu_count() or 1)
