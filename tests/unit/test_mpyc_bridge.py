"""MPyC over the mesh: shares to and fro, the same results as ours, and nothing unpickled from peers."""

from __future__ import annotations

import asyncio
import math
import pickle
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from engine_helpers import NAMES, compute, compute_alike, secret_of, spent
from transport_helpers import connect_all

from protocols import codec, mpyc_modules, mpyc_rounds
from protocols.engine import Engine
from protocols.errors import CodecError, PrecisionError
from protocols.field import P
from protocols.fixed import Format
from protocols.mpyc_bridge import from_mpyc, mpyc_runtime, mpyc_type, to_mpyc
from protocols.mpyc_rounds import Stalled
from protocols.mpyc_wire import Unsupported, pack_object, unpack_elements, unpack_object
from protocols.secret import truncate
from protocols.testing import run_meshes
from transport.errors import PeerAborted, PeerClosed, PeerTimeout, StepMismatch
from transport.loopback import loopback_federation
from transport.memory import memory_meshes

try:
    mpyc_modules.load()
except ImportError:
    pytest.skip("MPyC is not installed", allow_module_level=True)

FIXED = Format(24, 1 << 40)


def refuse(*_: object) -> Any:
    raise AssertionError("pickled")


@pytest.fixture(autouse=True)
def no_pickle(monkeypatch):
    import mpyc.runtime

    monkeypatch.setattr(mpyc.runtime, "pickle", SimpleNamespace(loads=refuse, dumps=refuse))


def with_mpyc(n: int, program: Callable[[Any], Any], **options: Any) -> Any:
    """Run a program of n parties that all get the same, and return it."""

    def at_party(engine: Engine) -> Any:
        with mpyc_runtime(engine, **options) as mpc:
            return program(mpc)

    return compute_alike(n, at_party)


def fixed(engine: Engine, numbers: Any, reading: Format = FIXED) -> Any:
    scaled = np.vectorize(lambda x: round(x * 2**reading.fraction), otypes="O")(np.array(numbers, float))
    return secret_of(engine, scaled, reading)


# --- To and fro ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [3, 4, 5])
@pytest.mark.parametrize("reading", [Format(), Format(0, 2**31), FIXED])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0,)])
def test_shares_pass_to_mpyc_and_back_as_they_are(n, reading, shape):
    def program(mpc: Any) -> Any:
        values = np.arange(math.prod(shape)).reshape(shape) - 2
        secret = secret_of(mpc.engine, values, reading)
        cost, back = spent(mpc.engine, lambda: from_mpyc(mpc, to_mpyc(mpc, secret)))
        assert cost.rounds == cost.bytes_sent == 0
        assert back.shape == shape
        assert back.format.fraction == reading.fraction
        np.testing.assert_array_equal(back.shares, secret.shares)
        return mpc.run(mpc.output(to_mpyc(mpc, secret), raw=True)).value, [int(v) % P for v in values.flat]

    opened, expected = with_mpyc(n, program)
    assert opened.ravel().tolist() == expected
    assert opened.shape == shape


def test_numbers_and_lists_come_back_too():
    def program(mpc: Any) -> Any:
        secfxp = mpc.SecFxp(48, 24, p=P)
        one = from_mpyc(mpc, secfxp(1.5))
        some = from_mpyc(mpc, mpc.input([secfxp(-2.5), secfxp(3)], senders=0))
        assert one.shape == ()
        assert some.format == Format(24, 1 << 47)
        return (some.assume(8) * one.assume(8)).reveal("product")

    np.testing.assert_allclose(with_mpyc(3, program), [-3.75, 4.5], atol=2 * 2.0**-24)


def test_types_follow_formats():
    def program(mpc: Any) -> Any:
        assert mpyc_type(mpc, Format()) is mpc.SecFld(P, signed=True)
        assert mpyc_type(mpc, Format(0, 5)) is mpc.SecInt(4, p=P)
        assert mpyc_type(mpc, Format(24, 5)) is mpc.SecFxp(48, 24, p=P)
        assert mpyc_type(mpc, Format(24, 2**50)) is mpc.SecFxp(52, 24, p=P)
        with pytest.raises(PrecisionError, match="no room"):
            mpyc_type(mpc, Format(32, 5))
        x = fixed(mpc.engine, [1])
        with pytest.raises(ValueError, match="rescale"):
            to_mpyc(mpc, x, mpc.SecFxp(40, 20, p=P))
        with pytest.raises(ValueError, match="p = P"):
            to_mpyc(mpc, x, mpc.SecFxp(48, 24))
        with pytest.raises(ValueError, match="p = P"):
            from_mpyc(mpc, mpc.SecInt(32)(1))
        with pytest.raises(ValueError, match="another computation"):
            to_mpyc(SimpleNamespace(engine=None), x)  # type: ignore[arg-type]

    with_mpyc(3, program)


def test_the_room_of_mpycs_default_security():
    def program(mpc: Any) -> Any:
        x = to_mpyc(mpc, fixed(mpc.engine, [2.5]), mpc.SecFxp(64, 24, p=P))
        return mpc.run(mpc.output(x * x))

    assert with_mpyc(3, program, security=30).tolist() == [6.25]


# --- Twins ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [3, 5])
def test_products_agree(n):
    rng = np.random.default_rng(n)
    a, b = rng.integers(-(2**20), 2**20, (2, 2, 3))

    def program(mpc: Any) -> Any:
        engine = mpc.engine
        x, y = (secret_of(engine, v, Format(0, 2**20)) for v in (a, b))
        u, v = to_mpyc(mpc, x), to_mpyc(mpc, y)
        theirs = from_mpyc(mpc, mpc.np_multiply(u, v)), from_mpyc(mpc, u @ v.T)
        ours = x * y, x @ y.T
        return [z.reveal(str(i)) for i, z in enumerate((*theirs, *ours))]

    for found, exact in zip(with_mpyc(n, program), [a * b, a @ b.T] * 2, strict=True):
        np.testing.assert_array_equal(found, exact)


@pytest.mark.parametrize("n", [3, 5])
def test_fixed_point_agrees(n):
    a, b = np.array([1.5, -2.25, 0.1, 1000]), np.array([-3.5, 2**-10, 0.7, 8])

    def program(mpc: Any) -> Any:
        x, y = fixed(mpc.engine, a), fixed(mpc.engine, b)
        u, v = to_mpyc(mpc, x), to_mpyc(mpc, y)
        bounded = from_mpyc(mpc, u * v).assume(2**14)
        quotient = from_mpyc(mpc, v[3] / u[3])
        return [
            (bounded - x.assume(2**10) * y.assume(2**4)).reveal("products"),
            truncate(bounded, 4).reveal("truncated"),
            quotient.reveal("quotient"),
        ]

    difference, products, quotient = with_mpyc(n, program)
    np.testing.assert_allclose(difference, 0, atol=(math.comb(n, n // 2) + 4) * 2.0**-24)
    np.testing.assert_allclose(products, a * b, atol=1e-4)
    assert quotient == pytest.approx(0.008, abs=1e-6)


@pytest.mark.parametrize("n", [3, 5])
def test_comparisons(n):
    numbers = [3.5, -1.25, 0, 3.5]

    def program(mpc: Any) -> Any:
        x = to_mpyc(mpc, fixed(mpc.engine, numbers))
        found = [x < 0, x == 3.5, mpc.np_sort(x), mpc.np_maximum(x, -x)]
        return [from_mpyc(mpc, y).reveal(str(i)).tolist() for i, y in enumerate(found)]

    assert with_mpyc(n, program) == [[0, 1, 0, 0], [1, 0, 0, 1], sorted(numbers), [3.5, 1.25, 0, 3.5]]


# --- MPyC's own programs -------------------------------------------------------------------------------

PROGRAM = """
from mpyc.runtime import mpc
from mpyc.seclists import seclist

async def main():
    secint = mpc.SecInt(16)
    async with mpc:
        ours = mpc.input(secint(3 * mpc.pid - 4))
        ranked = seclist(mpc.sorted(ours), secint)
        await mpc.barrier("sorted")
        ends = await mpc.output([ranked[secint(0)], ranked[-1]])
        names = await mpc.transfer((f"party {mpc.pid}", 2**70 + mpc.pid))
        bits = mpc.SecFld(2**8)
        cube = await mpc.output(mpc.input(bits(7), senders=1) ** 3)
        small = await mpc.output(mpc.SecFld(3)(mpc.pid - mpc.pid + 2) * 2)
        only = await mpc.output(ours[1], receivers=[0])
        return ends, names, int(cube), int(small), (only is None) == (mpc.pid > 0)

result = mpc.run(main())
"""


@pytest.mark.parametrize("n", [3, 5])
def test_a_program_for_mpyc_runs_unchanged(n):
    def program(_: Any) -> Any:
        scope: dict[str, Any] = {}
        exec(PROGRAM, scope)
        return scope["result"]

    ends, names, cube, small, alright = with_mpyc(n, program)
    assert ends == [-4, 3 * n - 7]
    assert names == [(f"party {i}", 2**70 + i) for i in range(n)]
    assert (cube, small, alright) == (0x6B, 1, True)


def test_over_the_network(tmp_path: Path):
    federation = loopback_federation("abc", tmp_path)

    def program(party: Any) -> Any:
        with mpyc_runtime(Engine(party)) as mpc:
            x = to_mpyc(mpc, fixed(mpc.engine, [[1.5, 2], [3, -4]]))
            return from_mpyc(mpc, x @ x).assume(100).reveal("square").tolist()

    for found in run_meshes(connect_all(federation, timeout=20.0), program).values():
        assert found == [[8.25, -5], [-7.5, 22]]


def test_messages_of_a_round_travel_together():
    def program(mpc: Any) -> Any:
        x = secret_of(mpc.engine, np.arange(50), Format(0, 50))
        numbers = mpc.np_tolist(to_mpyc(mpc, x))
        cost, products = spent(mpc.engine, lambda: mpc.run(mpc.gather([y * y for y in numbers])))
        assert cost.rounds == 2  # and one to hear that all are done
        assert cost.messages_sent == 2 * 2
        return len(products)

    assert with_mpyc(3, program) == 50


def test_keys_are_fresh_and_shared():
    def program(engine: Engine) -> Any:
        with mpyc_runtime(engine) as one:
            first = one._prss_keys
        with mpyc_runtime(engine) as two:
            return first, two._prss_keys

    found = compute(5, program)
    for index in (0, 1):
        keys = [keys[index] for keys in found.values()]
        for subset in keys[0]:
            assert len({keys[pid][subset] for pid in subset}) == 1
        assert all(pid in subset for pid in range(5) for subset in keys[pid])
    first, second = found["a"]
    assert not set(first.values()) & set(second.values())


def test_a_thread_has_the_runtime_that_it_made(monkeypatch: pytest.MonkeyPatch):
    import mpyc.runtime

    from protocols import mpyc_modules

    # What stands for threads without one, if MPyC was imported before the bridge.
    monkeypatch.setattr(mpyc_modules, "_default", None)

    def program(mpc: Any) -> Any:
        assert mpyc.runtime.mpc.pid == mpc.pid
        assert repr(mpyc.runtime.mpc) == repr(mpc)
        with pytest.raises(ValueError, match="stays it"):
            mpyc.runtime.mpc.threshold = 0
        mpyc.runtime.mpc.threshold = mpc.threshold

    with_mpyc(3, program)
    with pytest.raises(RuntimeError, match="no MPyC runtime"):
        _ = mpyc.runtime.mpc.pid


def test_threads_get_the_same_types():
    from mpyc import fingroups

    def types(mpc: Any) -> list[Any]:
        group = mpc.SecGrp(fingroups.SymmetricGroup(n=4))
        return [mpc.SecFld(101), mpc.SecInt(20), mpc.SecFxp(40, 20), mpc.SecFlt(16), group]

    three, five = with_mpyc(3, types), with_mpyc(5, types)
    assert three == with_mpyc(3, types)
    assert not set(three) & set(five)  # what t and the number of parties are is part of them


def test_without_mpyc(monkeypatch):
    monkeypatch.setattr(mpyc_modules, "_loaded", False)
    monkeypatch.setitem(sys.modules, "mpyc", None)
    for name in [name for name in sys.modules if name.startswith("mpyc.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ImportError, match=r"fedstats\[mpyc\]"):
        mpyc_modules.load()


# --- Errors --------------------------------------------------------------------------------------------


def failing(n: int, program: Callable[[Any, Any], Any], timeout: float = 2.0) -> dict[str, Any]:
    """Return what each party's program raised, or returned."""
    found: dict[str, Any] = {}

    def run(mesh: Any) -> None:
        def at_party(party: Any) -> Any:
            with mpyc_runtime(Engine(party)) as mpc:
                return program(mpc, mesh)

        try:
            found.update(run_meshes({mesh.me: mesh}, at_party))
        except BaseException as error:  # noqa: BLE001  (it is what the tests look at)
            found[mesh.me] = error

    meshes = memory_meshes(NAMES[:n], timeout=timeout).values()
    threads = [threading.Thread(target=run, args=(mesh,)) for mesh in meshes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def sorted_inputs(mpc: Any) -> Any:
    return mpc.run(mpc.output(mpc.sorted(mpc.input(mpc.SecInt(16)(mpc.pid)))))


@pytest.mark.parametrize(
    ("death", "expected"),
    [("abort", PeerAborted), ("close", PeerClosed), ("silence", PeerTimeout)],
)
def test_a_dead_peer_is_an_error_in_time(death, expected):
    begun = time.monotonic()

    def program(mpc: Any, mesh: Any) -> Any:
        if mpc.pid == 1:
            if death == "abort":
                raise ZeroDivisionError
            if death == "silence":
                time.sleep(3.0)
            return None
        with pytest.raises(expected) as caught:
            sorted_inputs(mpc)
        with pytest.raises(expected):  # the computation is over
            mpc.run(mpc.barrier())
        raise caught.value

    found = failing(3, program, timeout=1.5)
    assert time.monotonic() - begun < 30
    first = [error for name, error in found.items() if name != "b" and isinstance(error, expected)]
    assert first
    assert all(error.peer == "b" for error in first)


def test_other_programs_are_named():
    def program(mpc: Any, mesh: Any) -> Any:
        if mpc.pid == 1:
            return secret_of(mpc.engine, [1]).open()
        return sorted_inputs(mpc)

    found = failing(3, program)
    assert any(isinstance(error, StepMismatch) for error in found.values())


def test_waiting_for_what_nobody_sends_is_an_error():
    def program(mpc: Any, mesh: Any) -> Any:
        # Each expects a message of its successor alone.
        return mpc.run(mpc.transfer("x", senders=(mpc.pid + 1) % 3, receivers=mpc.pid))

    for error in failing(3, program).values():
        assert isinstance(error, Stalled | PeerAborted)


def test_errors_of_the_program_are_its_own():
    def program(mpc: Any, mesh: Any) -> Any:
        async def divide() -> Any:
            return 1 / await mpc.output(mpc.SecInt(16)(0))

        async def detached() -> Any:
            @mpc.coroutine
            async def broken():  # MPyC takes annotations for types of its own
                await mpc.returnType(asyncio.Future)
                raise KeyError("broken")

            return await broken()

        with pytest.raises(ZeroDivisionError):
            mpc.run(divide())
        with pytest.raises(KeyError, match="broken"):
            mpc.run(detached())
        return True

    assert failing(3, program) == {"a": True, "b": True, "c": True}


ROUND = {
    "data": b"abc",
    "ends": np.array([3]),
    "finished": False,
    "hopeful": True,
    "tags": np.array([7]),
}
HOSTILE = [
    b"",
    b"cos\nsystem\n(S'true'\ntR.",
    codec.encode({}),
    codec.encode(ROUND | {"more": 1}),
    codec.encode(ROUND | {"ends": np.array([4])}),
    codec.encode(ROUND | {"ends": np.array([-1])}),
    codec.encode(ROUND | {"ends": np.array([5, 3]), "tags": np.array([1, 2])}),
    codec.encode(ROUND | {"ends": np.array([1, 3]), "tags": np.array([2, 2])}),
    codec.encode(ROUND | {"ends": np.array([3.0])}),
    codec.encode(ROUND | {"tags": np.array([[7]])}),
    codec.encode(ROUND | {"finished": 1}),
]


@pytest.mark.parametrize("message", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_rounds(message):
    def program(mpc: Any, mesh: Any) -> Any:
        if mpc.pid == 1:
            step = mpc.engine.step("mpyc")
            mesh.exchange(step, dict.fromkeys(mesh.peers, message))
            return None
        return sorted_inputs(mpc)

    errors = [error for name, error in failing(3, program).items() if name != "b"]
    assert any(isinstance(error, CodecError) and error.peer == "b" for error in errors)
    assert all(isinstance(error, CodecError | PeerAborted) for error in errors)


@pytest.mark.parametrize(("limit", "what"), [(100, "more than was asked"), (1 << 30, "same tag")])
def test_messages_that_nobody_awaits(monkeypatch, limit, what):
    monkeypatch.setattr(mpyc_rounds, "MAX_AHEAD", limit)

    def program(mpc: Any, mesh: Any) -> Any:
        if mpc.pid == 1:
            for number in range(3):
                tags = np.array([7 + number * (limit == 100)])
                message = codec.encode(ROUND | {"tags": tags})
                mesh.exchange(mpc.engine.step("mpyc"), dict.fromkeys(mesh.peers, message))
            return None
        return sorted_inputs(mpc)

    errors = [error for name, error in failing(3, program).items() if name != "b"]
    assert any(isinstance(error, CodecError) and what in str(error) for error in errors)


def test_a_version_of_mpyc_that_pickles_elsewhere_is_refused(monkeypatch):
    from mpyc.runtime import Runtime

    from protocols.mpyc_runtime import _check_overridden

    def gossip(self: Any) -> Any:
        return [pickle.loads(data) for data in self._receive_message(0)]

    monkeypatch.setattr(Runtime, "gossip", gossip, raising=False)
    with pytest.raises(ImportError, match="gossip"):
        _check_overridden()


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda data: data[:-1], "are due"),
        (lambda data: data + bytes(8), "are due"),
        (lambda data: b"\xff" * len(data), "no element"),
        (lambda data: b"cos\nsystem\n(S'true'\ntR.", "are due"),
    ],
)
@pytest.mark.parametrize("task", ["input", "product", "output", "array"])
def test_hostile_shares(change, what, task):
    def program(mpc: Any, mesh: Any) -> Any:
        secint = mpc.SecInt(16, p=P)
        x = to_mpyc(mpc, secret_of(mpc.engine, [1, 2, 3], Format(0, 3)), secint)
        if mpc.pid == 1:
            send = mpc._send_message
            mpc._send_message = lambda pid, data: send(pid, change(data))
        match task:
            case "input":
                return mpc.run(mpc.gather(mpc.input(secint(5))))
            case "product":
                return mpc.run(mpc.gather(x[0] * x[1]))
            case "output":
                return mpc.run(mpc.output(x[0]))
            case _:
                return mpc.run(mpc.gather(mpc.input(x, senders=1)))

    errors = [error for name, error in failing(3, program).items() if name != "b"]
    assert any(isinstance(error, CodecError) and what in str(error) for error in errors)


def test_objects_that_are_sent():
    sent = [None, True, -(2**63), 2**63, -(2**100), 0.5, "é", b"\0", [1, (2, [])], {"int": {"a": (1,)}}]
    assert unpack_object(pack_object(sent), "b") == sent
    array = unpack_object(pack_object(np.arange(6.0).reshape(2, 3)), "b")
    np.testing.assert_array_equal(array, np.arange(6.0).reshape(2, 3))


@pytest.mark.parametrize("value", [object(), {1: 2}, {1, 2}, 1j, np.float64, np.array([2**70])])
def test_objects_that_are_not_sent(value):
    with pytest.raises(Unsupported, match="cannot be sent"):
        pack_object([value])


@pytest.mark.parametrize("value", [{}, {"x": 1}, {"int": 5}, {"tuple": b""}, {"int": b"", "tuple": []}])
def test_objects_that_are_not_read(value):
    with pytest.raises(CodecError, match="site b"):
        unpack_object(codec.encode(value), "b")


def test_elements_are_canonical():
    seven = SimpleNamespace(byte_length=1, order=7, ext_deg=1)
    assert unpack_elements(seven, bytes([0, 6]), 2, "b") == [0, 6]
    with pytest.raises(CodecError, match="no element"):
        unpack_elements(seven, bytes([7]), 1, "b")
