"""The packages that Paillier's encryption needs, imported when it is used; and all cores for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from itertools import pairwise
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def gmpy2() -> Any:
    """Return gmpy2.

    Raises
    ------
    ImportError
        It is not installed; the message says how to.
    """
    return _load("gmpy2")


def phe() -> Any:
    """Return phe's Paillier module; see `gmpy2`."""
    return _load("phe.paillier")


def require() -> None:
    """Raise ImportError unless both are installed."""
    gmpy2()
    phe()


def on_all_cores(work: Callable[[Sequence[Item]], list[Result]], items: Sequence[Item]) -> list[Result]:
    """Return what a function makes of a sequence that is cut in as many parts as there are cores.

    Long multiplications and powers are computed outside Python's lock.
    """
    library = gmpy2()
    cores = min(os.cpu_count() or 1, len(items))

    def unlocked(part: Sequence[Item]) -> list[Result]:
        with library.context(library.get_context(), allow_release_gil=True):
            return work(part)

    if cores <= 1:
        return work(items)
    ends = [len(items) * core // cores for core in range(cores + 1)]
    parts = [items[start:stop] for start, stop in pairwise(ends)]
    with ThreadPoolExecutor(cores) as pool:
        return [result for results in pool.map(unlocked, parts) for result in results]


def _load(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(
            "Paillier's encryption needs the packages phe and gmpy2: pip install 'fedstats[he]'"
        ) from error
