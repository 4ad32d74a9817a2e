"""The one event-loop thread of a process, on which every gRPC mesh runs.

The analyst's calls block; sockets are served here. gRPC's asyncio interface supports one loop a process
well, so all meshes of a process share it.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

Returned = TypeVar("Returned")

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None


def event_loop() -> asyncio.AbstractEventLoop:
    """Return the loop, and start its daemon thread on the first call."""
    global _loop
    with _lock:
        if _loop is None:
            # gRPC's C++ core prints every refused handshake to the terminal; ours are logged and raised.
            os.environ.setdefault("GRPC_VERBOSITY", "NONE")
            _loop = asyncio.new_event_loop()
            thread = threading.Thread(target=_serve, args=(_loop,), name="fedstats-transport", daemon=True)
            thread.start()
            atexit.register(_stop, _loop, thread)
        return _loop


def run(work: Coroutine[Any, Any, Returned]) -> Returned:
    """Run `work` on the loop's thread, and block until it is done.

    When the waiting thread is interrupted (Ctrl-C), the work is cancelled.
    """
    future = asyncio.run_coroutine_threadsafe(work, event_loop())
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()


def _stop(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    loop.call_soon_threadsafe(loop.stop)
    thread.join(timeout=1.0)
