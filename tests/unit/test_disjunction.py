from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from engine_helpers import compute_alike, spent

from protocols.disjunction import any_of
from protocols.engine import Engine


@pytest.mark.parametrize("n", [3, 5])
def test_whether_any_party_has_it(n: int) -> None:
    """Of n + 1 entries the first k parties have entry k: only the first is nobody's."""

    def program(engine: Engine) -> Any:
        own = engine.point <= np.arange(n + 1)
        cost, secret = spent(engine, lambda: any_of(engine, own))
        return cost.rounds, secret.reveal("any")

    rounds, opened = compute_alike(n, program)
    assert (opened != 0).tolist() == [False] + [True] * n
    assert rounds == 2


def test_how_many_have_it_does_not_show() -> None:
    """One, two or three parties: what is opened is spread over the field in each case."""

    def program(engine: Engine) -> Any:
        own = np.repeat(engine.point <= np.arange(1, 4), 400)
        return any_of(engine, own).reveal("any")

    opened = np.array([int(x) for x in compute_alike(3, program)], object).reshape(3, 400)
    for elements in opened:
        sixteenths = np.bincount([(x % ((1 << 127) - 1)) >> 123 for x in elements], minlength=16)
        assert ((sixteenths - 25) ** 2 / 25).sum() < 60  # χ² with 15 degrees of freedom: P = 2e-7
        assert len(set(elements.tolist())) == 400
