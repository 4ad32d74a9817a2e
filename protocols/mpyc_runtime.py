"""MPyC's runtime with the mesh below it: its protocols as they are, its messages and keys ours.

The four methods through which MPyC's parties talk are written anew after MPyC 0.11 [1]_, for a strict
encoding instead of pickled objects (`mpyc_wire`); all else is inherited. Import this module through
`mpyc_bridge`, which imports MPyC as a guest needs it.

References
----------
.. [1] B. Schoenmakers, "MPyC: Multiparty Computation in Python", https://github.com/lschoe/mpyc.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
import sys
import time
from collections.abc import Awaitable, Callable
from types import CodeType
from typing import Any

import mpyc
import numpy as np
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from mpyc import asyncoro, finfields, secgroups, thresha
from mpyc.runtime import Party as MpycParty
from mpyc.runtime import Runtime

from protocols.engine import Engine
from protocols.mpyc_modules import bind
from protocols.mpyc_rounds import Rounds
from protocols.mpyc_wire import pack_elements, pack_object, unpack_elements, unpack_object

#: Separates these keys from all others that are derived from those of the sets of parties.
DOMAIN = b"fedstats v1 mpyc prss\x00"
#: Bytes of a key of MPyC's pseudorandom functions.
_KEY_BYTES = 16

_log = logging.getLogger(__name__)


def _coroutine(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make an MPyC coroutine. MPyC would take annotations of the result for types of its own."""
    function.__annotations__ = {}
    made: Callable[..., Any] = asyncoro.mpc_coro(function)
    return made


class MeshRuntime(Runtime):
    """One party's MPyC runtime; make it with `mpyc_bridge.mpyc_runtime`.

    It belongs to the thread that creates it, in which also ``from mpyc.runtime import mpc`` means it.

    Parameters
    ----------
    engine
        The computation whose parties, threshold and keys it has.
    security
        MPyC's statistical parameter.

    Attributes
    ----------
    engine
        This computation.
    pid
        This party's position in the roster, from 0.
    """

    #: Of the module as it is now, with a lock before its cache.
    SecGrp = staticmethod(secgroups.SecGrp)

    def __init__(self, engine: Engine, security: int) -> None:
        self.engine = engine
        self._names = engine.party.roster
        self._rounds = Rounds(engine)
        options = mpyc._get_arg_parser().parse_args([])
        options.threshold = engine.t
        options.sec_param = security
        asyncio.set_event_loop(self._rounds.loop)  # where MPyC looks for it
        super().__init__(engine.party.index, [MpycParty(pid) for pid in range(engine.n)], options)
        # MPyC's own handler, which it has just given the loop, only prints errors.
        self._rounds.watch()
        self._prss_keys = _derived_keys(engine)
        self._prfs: dict[int, Any] = {}
        self._asked = 0
        bind(self)

    # --- MPyC's life, within that of the mesh ---------------------------------------------------------

    @property
    def threshold(self) -> int:
        """The engine's threshold; it cannot be set to another."""
        return self.engine.t

    @threshold.setter
    def threshold(self, t: int) -> None:
        if t != self.engine.t:
            raise ValueError(f"the threshold of {self.engine.n} parties is {self.engine.t}, and stays it")

    def run(self, f: Awaitable[Any]) -> Any:
        """Run until this and every other party is done with its work, and return the result.

        Raises
        ------
        TransportError, ProtocolError
            A peer died, sent what no honest party sends, or runs another program.
        """
        return super().run(f) if self._loop.is_running() else self._rounds.run(f)

    async def start(self) -> None:
        """Do as MPyC's programs expect; the mesh is connected already."""
        self.start_time = time.time()

    async def shutdown(self) -> None:
        """Wait for all tasks of this party. The mesh stays open: it is the federation's."""
        await self.barrier("shutdown")
        _log.info("MPyC ran for %.3f s", time.time() - self.start_time)

    async def __aexit__(self, error_type: Any, error: Any, traceback: Any) -> None:
        if error is None:
            await self.shutdown()

    async def barrier(self, name: str | None = None) -> None:
        """Wait for all tasks that were started before."""
        _log.info("barrier %s", name or "")
        while self._pc_level > self._program_counter[1]:
            await self._rounds.turn()

    def close(self) -> None:
        """Drop what still runs, and leave the thread as it was. The mesh stays open."""
        self._rounds.close()
        asyncio.set_event_loop(None)
        bind(None)

    def __enter__(self) -> MeshRuntime:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<MPyC runtime of {self.engine.party.me}, {self.engine.n} parties>"

    # --- Messages -----------------------------------------------------------------------------------

    def prfs(self, bound: int) -> Any:
        """Return the pseudorandom functions into 0 … bound − 1, one for each set of parties."""
        if bound not in self._prfs:
            self._prfs[bound] = {subset: thresha.PRF(key, bound) for subset, key in self._prss_keys.items()}
        return self._prfs[bound]

    def _send_message(self, peer_pid: int, data: bytes) -> None:
        self._rounds.send(self._names[peer_pid], self._program_counter[0], data)

    def _receive_message(self, peer_pid: int) -> asyncio.Future[bytes]:
        return self._rounds.receive(self._names[peer_pid], self._program_counter[0])

    def transfer(
        self,
        obj: Any,
        senders: Any = None,
        receivers: Any = None,
        sender_receivers: Any = None,
    ) -> Any:
        """Send plain objects between parties; see MPyC for the parameters, `pack_object` for the objects."""
        self._ask("transfer", lambda: len(pack_object(obj)))
        return self._transfer(obj, senders, receivers, sender_receivers)

    @_coroutine
    async def _transfer(self, obj: Any, senders: Any, receivers: Any, sender_receivers: Any) -> Any:
        """Do what `transfer` does, asked for or by a protocol of MPyC."""
        await self.returnType(asyncio.Future)
        if sender_receivers is not None:
            if senders is not None or receivers is not None:
                raise ValueError("give either senders and receivers, or pairs of them")
            arcs = (
                [(a, b) for a, others in sender_receivers.items() for b in others]
                if isinstance(sender_receivers, dict)
                else sender_receivers
            )
            sources = [a for a, b in arcs if b == self.pid]
            targets = [b for a, b in arcs if a == self.pid]
        else:
            from_pids, to_pids = self._pids(senders), self._pids(receivers)
            sources = from_pids if self.pid in to_pids else []
            targets = to_pids if self.pid in from_pids else []
        ours = pack_object(obj) if targets else b""
        for pid in targets:
            if pid != self.pid:
                self._send_message(pid, ours)
        packed = await self.gather(
            [ours if pid == self.pid else self._receive_message(pid) for pid in sources]
        )
        objects = [unpack_object(data, self._names[pid]) for pid, data in zip(sources, packed, strict=True)]
        return objects[0] if isinstance(senders, int) else objects

    @_coroutine
    async def _distribute(self, x: Any, senders: Any) -> Any:
        """Share what each sender provides; see `mpyc.runtime.Runtime.input`."""
        if x == []:
            return [[] for _ in senders]
        kind = type(x[0])
        if hasattr(kind, "_input"):
            return kind._input(x, senders)
        secure = issubclass(kind, self.SecureObject)
        if secure:
            await self.returnType(_like(x[0]), len(senders), len(x))
        else:
            await self.returnType(asyncio.Future)
        field, shape = _field_of(kind), x[0].shape if _is_array(kind) else None
        count = len(x) if shape is None else int(np.prod(shape))
        parts: list[Any] = []
        for sender in senders:
            if sender == self.pid:
                values = _values(await self.gather(x) if secure else x)
                rows = self._split(field, values, shape)
                parts.append(rows[self.pid])
            else:
                parts.append(self._receive_message(sender))
        parts = await self.gather(parts)
        shares = [
            part if sender == self.pid else unpack_elements(field, part, count, self._names[sender])
            for sender, part in zip(senders, parts, strict=True)
        ]
        return [_elements(field, share, shape) for share in shares]

    def output(self, x: Any, receivers: Any = None, threshold: Any = None, raw: bool = False) -> Any:
        """Open shared values to the receivers; see `mpyc.runtime.Runtime.output`.

        The engine's gate is asked first. Unlike the engine's openings, MPyC's look at t + 1 shares only:
        wrong ones are not noticed.
        """
        self._ask("output", lambda: _count(x))
        return self._output(x, receivers, threshold, raw)

    def peek(self, x: Any, label: str = "") -> Any:
        """Open shared values to the log: asks the gate as `output` does."""
        self._ask("output", lambda: _count(x))
        return super().peek(x, label)

    def is_zero_public(self, a: Any) -> Any:
        """Open whether a secret is zero: asks the gate as `output` does."""
        self._ask("public test", lambda: 1)
        return super().is_zero_public(a)

    def eq_public(self, a: Any, b: Any) -> Any:
        """Open whether secrets are equal: asks the gate as `output` does."""
        self._ask("public test", lambda: 1)
        return super().eq_public(a, b)

    def np_is_zero_public(self, a: Any) -> Any:
        """Open which secrets are zero: asks the gate as `output` does."""
        self._ask("public test", lambda: _count(a))
        return super().np_is_zero_public(a)

    def _ask(self, label: str, count: Callable[[], int]) -> None:
        """Ask the engine's gate for what a program opens; what MPyC's own protocols open is masked.

        The two are told apart by who calls: MPyC's modules, or any other.
        """
        caller = sys._getframe(2)
        if str(caller.f_globals.get("__name__")).partition(".")[0] != "mpyc":
            self._asked += 1
            self.engine.admit(f"{label}/{self._asked}", (count(),))

    @_coroutine
    async def _output(self, x: Any, receivers: Any, threshold: Any, raw: bool) -> Any:
        """Do what `output` does, asked for or by a protocol of MPyC."""
        is_list = isinstance(x, list)
        x = x[:] if is_list else [x]
        await self.returnType(asyncio.Future)
        if not x:
            return []
        t, m = self.threshold if threshold is None else threshold, self.engine.n
        receivers = self._pids(receivers)
        kind = type(x[0])
        secure = issubclass(kind, self.SecureObject)
        if secure and hasattr(kind, "_output"):
            y = await kind._output(x, receivers, threshold)
            return y if is_list else y[0]
        if secure:
            x = await self.gather(x)
        field, shape, values = _field_of(type(x[0])), _shape(x), _values(x)
        packed = b""
        for pid in receivers:
            if 0 < (pid - self.pid) % m <= t:
                packed = packed or pack_elements(field, values)
                self._send_message(pid, packed)
        if self.pid not in receivers:
            y = [None] * len(x)
        else:
            others = [(self.pid - t + j) % m for j in range(t)]
            parts = await self.gather([self._receive_message(pid) for pid in others])
            points = self._points(field, others, parts, len(values))
            points.append((self.pid + 1, values))
            y = _recombined(field, points, shape)
            convert = kind._output_conversion if secure and not raw else None
            if convert is not None:
                y = [convert(value) for value in y]
        return y if is_list else y[0]

    @_coroutine
    async def _reshare(self, x: Any) -> Any:
        """Bring shares of degree 2t back to degree t [GRR98]; see `mpyc.runtime.Runtime`."""
        is_list = isinstance(x, list)
        x = x if is_list else [x]
        if not x:
            return []
        if issubclass(type(x[0]), self.SecureObject):
            await self.returnType(_like(x[0]), *[len(x)] * is_list)
            x = await self.gather(x)
        else:
            await self.returnType(asyncio.Future)
        field, shape, values = _field_of(type(x[0])), _shape(x), _values(x)
        m, first = self.engine.n, self._program_counter[0] % self.engine.n
        dealers = [(first + j) % m for j in range(2 * self.threshold + 1)]
        points = []
        if self.pid in dealers:
            rows = self._split(field, values, shape)
            points.append((self.pid + 1, rows[self.pid]))
        others = [pid for pid in dealers if pid != self.pid]
        parts = await self.gather([self._receive_message(pid) for pid in others])
        points = self._points(field, others, parts, len(values)) + points
        y = _recombined(field, points, shape)
        return y if is_list else y[0]

    def _split(self, field: Any, values: Any, shape: Any) -> Any:
        """Share values, send every other party its shares, and return all."""
        split = thresha.random_split if shape is None else thresha.np_random_split
        rows = split(field, values, self.threshold, self.engine.n)
        for pid, row in enumerate(rows):
            if pid != self.pid:
                self._send_message(pid, pack_elements(field, row))
        return rows

    def _points(self, field: Any, pids: list[int], parts: Any, count: int) -> list[Any]:
        """Return the shares that parties sent, each with the point at which it lies."""
        return [
            (pid + 1, unpack_elements(field, part, count, self._names[pid]))
            for pid, part in zip(pids, parts, strict=True)
        ]

    def _pids(self, chosen: Any) -> list[int]:
        if chosen is None:
            return list(range(self.engine.n))
        return [chosen] if isinstance(chosen, int) else list(chosen)


# --- MPyC's kinds of numbers -------------------------------------------------------------------------


def _is_array(kind: type) -> bool:
    return issubclass(kind, Runtime.SecureArray | finfields.FiniteFieldArray)


def _field_of(kind: Any) -> Any:
    """Return the field of a class of numbers or arrays."""
    if issubclass(kind, finfields.FiniteFieldElement):
        return kind
    return kind.sectype.field if issubclass(kind, Runtime.SecureArray) else kind.field


def _like(x: Any) -> Any:
    """Return the type, as `returnType` takes it, of numbers or arrays like a given one."""
    kind = type(x)
    details = ([x.integral] if kind.frac_length else []) + ([x.shape] if _is_array(kind) else [])
    return (kind, *details) if details else kind


def _count(x: Any) -> int:
    """Return how many numbers there are in a number, an array, or a list of either."""
    if isinstance(x, list):
        return sum(map(_count, x))
    return math.prod(x.shape) if _is_array(type(x)) else 1


def _shape(x: list[Any]) -> Any:
    """Return the shape of an array, None for a list of elements."""
    return x[0].shape if _is_array(type(x[0])) else None


def _values(x: list[Any]) -> Any:
    """Return the values of elements, or of the one array in the list, in a row."""
    return x[0].value.reshape(-1) if _is_array(type(x[0])) else [element.value for element in x]


def _elements(field: Any, values: Any, shape: Any) -> list[Any]:
    """Return values as elements, or as the only array of a list."""
    if shape is None:
        return [field(value) for value in values]
    return [field.array(np.array(values, object), check=False).reshape(shape)]


def _recombined(field: Any, points: list[Any], shape: Any) -> list[Any]:
    if shape is None:
        return [field(value) for value in thresha.recombine(field, points)]
    return [thresha.np_recombine(field, points).reshape(shape)]


def _pickles(code: CodeType) -> bool:
    """Return whether code, or code within it, mentions `pickle`."""
    return "pickle" in code.co_names or any(
        _pickles(part) for part in code.co_consts if isinstance(part, CodeType)
    )


def _check_overridden() -> None:
    """Refuse a version of MPyC that unpickles messages in a method which is not replaced above."""
    functions = {name: inspect.unwrap(value) for name, value in vars(Runtime).items() if callable(value)}
    left = [
        name
        for name, function in functions.items()
        if inspect.isfunction(function) and _pickles(function.__code__) and name not in vars(MeshRuntime)
    ]
    if left:
        raise ImportError(f"this version of MPyC is not supported: it unpickles in {', '.join(left)}")


def _derived_keys(engine: Engine) -> dict[tuple[int, ...], bytes]:
    """Return a fresh key for every set of parties that this one belongs to, without a message."""
    info = DOMAIN + engine.step("mpyc keys").encode()
    session = engine.party.mesh.session.id
    keys = {}
    for held in engine.prss.holdings:
        subset = tuple(point - 1 for point in held.subset)  # MPyC counts from 0
        keys[subset] = HKDF(SHA256(), _KEY_BYTES, salt=session, info=info).derive(held.key)
    return keys


_check_overridden()
