"""Opening: all parties send their shares of degree t, and check all n of them against each other."""

from __future__ import annotations

from protocols import field, shamir
from protocols.engine import Engine
from protocols.errors import Disagreement
from protocols.mersenne import Elements
from protocols.stripes import broadcast


def open_shares(engine: Engine, operation: str, shares: Elements) -> Elements:
    """Return the elements that shares stand for. All parties learn them.

    Parameters
    ----------
    engine
        The computation.
    operation
        What is opened, for the step's name.
    shares
        Shape ``(size, 2)``: our shares, of degree t.

    Returns
    -------
    ndarray
        Shape ``(size, 2)``.

    Raises
    ------
    Disagreement
        The n shares do not lie on polynomials of degree t: some party sent a wrong one.

    Notes
    -----
    **Leakage.** The elements, and nothing else: each party could compute all n shares from them and from
    those of t parties. What is opened within a protocol must therefore be masked.

    **Wrong shares.** As n ≥ 2t + 1, at least t + 1 shares are honest and determine the polynomial. Up to t
    wrong ones are noticed by every honest party that receives them, whoever else is told what; it aborts
    and the mesh tells all. Parties that noticed nothing hold the right value. Where all but one may collude,
    all n shares are needed to open, and nothing is left to check them by.

    **Cost.** One round. Each party sends each peer one element an entry.
    """
    step = engine.step(operation)
    opened = field.empty(len(shares))
    for stripe, parts in broadcast(engine.party, step, len(shares), lambda stripe: shares[stripe]):
        if not shamir.lies_on_polynomial(parts, engine.t):
            raise Disagreement(
                f"at step {step!r} the parties' shares contradict each other: one of the sites sent wrong "
                "shares; discard this session's results"
            )
        opened[stripe] = shamir.reconstruct(parts, engine.t)
        engine.party.absorb(step, opened[stripe].data)
    return opened
