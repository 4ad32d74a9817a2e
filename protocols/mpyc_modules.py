"""MPyC's modules, made to serve several parties in the threads of one process.

MPyC is written for one party a process: its modules find the runtime in a global of theirs, parse the
command line when they are imported, and keep the types that they create in caches without a lock. Here
they are imported without a look at the command line, their globals stand for *the runtime of the thread
that asks*, and their caches create a type once. A thread without a runtime of ours finds what was there
before, so that plain MPyC goes on working beside it.
"""

from __future__ import annotations

import functools
import importlib
import os
import threading
import warnings
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

#: Modules whose global `runtime` is the party's.
_BOUND = ("asyncoro", "mpctools", "random", "seclists", "secgroups", "secpols", "sectypes", "statistics")
#: Modules that create types, and whether these depend on the runtime's parties and security.
_FACTORIES = {"finfields": False, "fingroups": False, "gfpx": False, "sectypes": True, "secgroups": True}

_lock = threading.RLock()
_thread = threading.local()
_default: Any = None
_loaded = False


class ThreadRuntime:
    """Stands for the runtime of the thread that uses it, under the names where MPyC looks for one."""

    def __getattr__(self, name: str) -> Any:
        return getattr(_current(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(_current(), name, value)

    async def __aenter__(self) -> Any:
        return await _current().__aenter__()

    async def __aexit__(self, *error: Any) -> Any:
        return await _current().__aexit__(*error)

    def __repr__(self) -> str:
        return repr(_current())


def bind(runtime: Any) -> None:
    """Make a runtime that of this thread; None for no more."""
    _thread.runtime = runtime


def _current() -> Any:
    runtime = getattr(_thread, "runtime", None) or _default
    if runtime is None:
        raise RuntimeError("this thread has no MPyC runtime: call mpyc_runtime in the thread that computes")
    return runtime


def load() -> None:
    """Import MPyC and adapt its modules, once a process.

    Raises
    ------
    ImportError
        MPyC is not installed, or is a version that keeps its runtime elsewhere.
    """
    global _default, _loaded
    with _lock:
        if _loaded:
            return
        try:
            with _quiet_import():
                modules = {name: importlib.import_module(f"mpyc.{name}") for name in (*_BOUND, *_FACTORIES)}
                runtime = importlib.import_module("mpyc.runtime")
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] != "mpyc":
                raise
            raise ImportError("MPyC is not installed: pip install 'fedstats[mpyc]'") from error
        missing = [name for name in _BOUND if not hasattr(modules[name], "runtime")]
        if missing:
            raise ImportError(f"this version of MPyC is not supported: no runtime in {', '.join(missing)}")
        for name, contextual in _FACTORIES.items():
            _guard(modules[name], contextual)
        proxy = ThreadRuntime()
        _default = getattr(runtime, "mpc", None)
        vars(runtime)["mpc"] = proxy
        for name in _BOUND:
            vars(modules[name])["runtime"] = proxy
        _loaded = True


@contextmanager
def _quiet_import() -> Iterator[None]:
    """Keep MPyC from parsing the command line and configuring the log: its own switch for such imports."""
    before = os.environ.get("READTHEDOCS")
    os.environ["READTHEDOCS"] = "True"
    os.environ.setdefault("MPYC_MAXWORKERS", "0")  # what it would have set itself
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # MPyC takes from NumPy what it deprecates
            yield
    finally:
        if before is None:
            del os.environ["READTHEDOCS"]
        else:
            os.environ["READTHEDOCS"] = before


def _guard(module: ModuleType, contextual: bool) -> None:
    """Put a lock before a module's cached functions: two threads must not get two types for one."""
    for name, function in list(vars(module).items()):
        if hasattr(function, "cache_clear") and function.__module__ == module.__name__:
            setattr(module, name, _once(function, _context if contextual else tuple))


def _once(function: Any, context: Callable[[], Hashable]) -> Callable[..., Any]:
    """Return a function that creates one object for the same arguments in the same context."""
    create: Callable[..., Any] = function.__wrapped__
    made: dict[Hashable, Any] = {}

    @functools.wraps(create)
    def cached(*arguments: Hashable, **options: Hashable) -> Any:
        key = (context(), arguments, tuple(sorted(options.items())))
        with _lock:
            if key not in made:
                made[key] = create(*arguments, **options)
            return made[key]

    return cached


def _context() -> Hashable:
    """Return what MPyC's secure types depend on beside their parameters."""
    runtime = _current()
    return runtime.threshold, len(runtime.parties), runtime.options.sec_param
