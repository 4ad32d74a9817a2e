"""MPyC over the mesh: its whole library of protocols, on the same shares.

MPyC [1]_ shares values as the engine does, by polynomials at the points 1, 2, …, of degree ⌊(n − 1)/2⌋. With
the field's own prime as modulus, an array of shares passes to it and back as it is. ::

    with mpyc_runtime(engine) as mpc:
        x = to_mpyc(mpc, secret)
        y = from_mpyc(mpc, mpc.np_sort(x))

In the thread of that block, programs written for MPyC run unchanged: ``from mpyc.runtime import mpc`` means
the runtime over the mesh. Each party's runtime belongs to the thread that made it, so that all parties of a
simulation can share a process.

**Security** is MPyC's: t passive colluders learn nothing but what is opened. Openings are MPyC's `output`,
which does not check shares; what a program opens by it, the engine's gate is asked for.

References
----------
.. [1] B. Schoenmakers, "MPyC: Multiparty Computation in Python", https://github.com/lschoe/mpyc.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np

from protocols import field
from protocols.engine import Engine
from protocols.errors import PrecisionError
from protocols.field import P
from protocols.fixed import Format
from protocols.mpyc_modules import load
from protocols.secret import SecretArray

if TYPE_CHECKING:
    from protocols.mpyc_runtime import MeshRuntime


def mpyc_runtime(engine: Engine, *, security: int | None = None) -> MeshRuntime:
    """Return an MPyC runtime whose parties are the engine's; a context that closes it.

    Parameters
    ----------
    engine
        The computation. While the runtime computes, in `run`, the engine's own protocols wait.
    security
        MPyC's statistical parameter; the engine's by default. MPyC's own default is 30, which leaves
        ten bits more to its numbers.

    Raises
    ------
    ImportError
        MPyC is not installed.

    Notes
    -----
    `run` ends at all parties together. All messages that are ready travel as one to each peer, whatever
    MPyC does meanwhile: `engine.party.mesh.traffic` counts them as rounds.

    **Differences from MPyC.** `transfer` sends plain objects only (`mpyc_wire.pack_object`): finite-field
    and group elements are refused, and so is whatever builds on their transfer. `threshold` is fixed.
    `mpc.SecFld(P)` and `mpc.SecFxp(…, p=P)` share one field, whose signedness MPyC keeps in the field: use
    `SecFld(P, signed=True)` beside numbers that can be negative.

    **Cost.** No message to make it. A round for each `run`, in which the parties hear that all have done.
    """
    load()
    from protocols.mpyc_runtime import MeshRuntime

    return MeshRuntime(engine, engine.security if security is None else security)


def mpyc_type(runtime: MeshRuntime, format: Format) -> Any:  # noqa: A002
    """Return MPyC's type for numbers of a format: `SecFld`, `SecInt` or `SecFxp` of the engine's modulus.

    Fixed-point types have twice their fractional bits or more, as MPyC's division requires.

    Raises
    ------
    PrecisionError
        MPyC cannot mask numbers of this size in the field.
    """
    if format.bound is None:
        return runtime.SecFld(P, signed=True)
    bits = max(format.bound.bit_length() + 1, 2 * format.fraction)
    # MPyC wants room for the bits, the security and as many fractional bits again.
    if bits + format.fraction + runtime.options.sec_param + 1 >= P.bit_length():
        raise PrecisionError(
            f"numbers of {bits} bits, {format.fraction} of them fractional, leave MPyC no room for masks "
            "in the field: tighten the public bounds (`assume`) or carry fewer fractional bits (`rescale`)"
        )
    if format.fraction:
        return runtime.SecFxp(bits, format.fraction, p=P)
    return runtime.SecInt(bits, p=P)


def to_mpyc(runtime: MeshRuntime, secret: SecretArray, sectype: Any = None) -> Any:
    """Return an array's shares as a secure array of MPyC.

    Parameters
    ----------
    runtime
        The runtime of the array's engine.
    secret
        The array.
    sectype
        MPyC's type of its entries, over the field of `P` and with as many fractional bits;
        `mpyc_type` by default.

    Notes
    -----
    **Leakage.** Nothing. **Cost.** Local.
    """
    if secret.engine is not runtime.engine:
        raise ValueError("the secret belongs to another computation than the runtime")
    kind = sectype or mpyc_type(runtime, secret.format)
    _check_modulus(kind)
    if kind.frac_length != secret.format.fraction:
        raise ValueError(
            f"{kind.__name__} has {kind.frac_length} fractional bits, the array {secret.format.fraction}: "
            "use `rescale`"
        )
    shares = kind.field.array(field.to_ints(secret.shares), check=False)
    if kind.frac_length:
        return kind.array(shares, integral=False)
    return kind.array(shares)


def from_mpyc(runtime: MeshRuntime, secure: Any) -> SecretArray:
    """Return MPyC's secure array, number, or list of numbers as an array of the engine.

    Parameters
    ----------
    runtime
        The runtime that computes it.
    secure
        Of a type over the field of `P`, be it computed or still to be. A list is not empty.

    Notes
    -----
    The bound of the format is that of MPyC's type; `SecretArray.assume` tightens it.

    **Leakage.** Nothing. **Cost.** Local, but for the rounds that it takes to finish computing it.
    """
    parts = secure if isinstance(secure, list) else [secure]
    kind = getattr(type(parts[0]), "sectype", type(parts[0]))
    _check_modulus(kind)
    shares = [part.share for part in parts]
    if any(isinstance(share, asyncio.Future) for share in shares):
        shares = runtime.run(runtime.gather(parts))
    values = [share.value for share in shares] if parts is secure else shares[0].value
    fraction = kind.frac_length
    integers = issubclass(kind, runtime.SecureInteger | runtime.SecureFixedPoint)
    format_ = Format(fraction, 1 << (kind.bit_length - 1)) if integers else Format()
    return SecretArray(runtime.engine, field.from_ints(np.asarray(values, object)), format_)


def _check_modulus(kind: Any) -> None:
    if getattr(getattr(kind, "field", None), "modulus", None) != P:
        raise ValueError(f"{kind.__name__} is not over the engine's field: give MPyC the modulus p = P")
