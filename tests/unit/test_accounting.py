"""Losses of privacy, against what OpenDP and dp-accounting make of them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from dp_accounting import GaussianDpEvent, SelfComposedDpEvent
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant

import fedstats as fs
from fedstats.privacy.accounting import LEAST_RHO, MOST_RHO, delta_for, epsilon_for, loss, rho_for

#: Made by tests/vectors/make_zcdp.py.
CASES = json.loads((Path(__file__).parent.parent / "vectors" / "zcdp.json").read_text())["cases"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['rho']}-{case['delta']}")
def test_epsilon_is_that_of_opendp(case: dict[str, float]) -> None:
    rho, delta, epsilon = case["rho"], case["delta"], case["epsilon"]
    found = epsilon_for(rho, delta)
    assert epsilon <= found <= epsilon * (1 + 1e-8) + 1e-12
    if epsilon:
        assert delta * (1 - 1e-6) <= delta_for(rho, epsilon) <= delta * (1 + 1e-6)
        back = float(rho_for(found, delta))
        assert rho * (1 - 1e-7) <= back <= rho * (1 + 1e-7)
        assert epsilon_for(back, delta) <= found


@pytest.mark.parametrize(("sigma", "queries"), [(10.0, 20), (30.0, 1), (2.0, 3)])
def test_epsilon_lies_between_dp_accountings_bounds(sigma: float, queries: int) -> None:
    """Not below what composed Gaussians cost exactly, nor above what divergences of some orders say."""
    delta = 1e-6
    event = SelfComposedDpEvent(GaussianDpEvent(sigma), queries)
    exact = PLDAccountant().compose(event).get_epsilon(delta)
    by_orders = RdpAccountant(orders=[1 + k / 10 for k in range(1, 2000)]).compose(event).get_epsilon(delta)
    found = epsilon_for(queries * Fraction(1) / (2 * Fraction(sigma) ** 2), delta)
    assert exact <= found <= by_orders * (1 + 1e-9)
    assert found == pytest.approx(by_orders, rel=1e-3)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (0.1, Fraction(1, 10)),
        ("1/3", Fraction(1, 3)),
        (2, Fraction(2)),
        (Decimal("0.25"), Fraction(1, 4)),
        (Fraction(5, 7), Fraction(5, 7)),
        (1e-3, Fraction(1, 1000)),
    ],
    ids=str,
)
def test_losses_are_the_fractions_that_are_written(given: Any, meant: Fraction) -> None:
    assert loss(rho=given) == meant


@pytest.mark.parametrize("rho", [0.01, 0.5, 2.0])
def test_a_distance_from_zcdp_counts_towards_delta(rho: float) -> None:
    tau, delta = 2.0**-40, 1e-6
    found = epsilon_for(rho, delta, tau)
    assert delta_for(rho, found) + (1 + math.exp(found)) * tau == pytest.approx(delta, rel=1e-6)
    assert delta_for(rho, found) + (1 + math.exp(found)) * tau <= delta
    back = rho_for(found, delta, tau)
    assert float(back) == pytest.approx(rho, rel=1e-6)
    assert epsilon_for(back, delta, tau) <= found
    # Where neighbours may differ so rarely that δ is not met, there is no ε; and none beyond what is left.
    assert epsilon_for(rho, tau, tau) == math.inf
    assert 2.3 < float(rho_for(13.36, delta, tau)) <= float(rho_for(13.4, delta, tau)) < 2.4
    with pytest.raises(fs.DataError, match=r"epsilon = 50 is out of reach with delta = 1e-06.*is 13\.37"):
        rho_for(50, delta, tau)
    with pytest.raises(fs.DataError, match="leaves room for no answer"):
        rho_for(1.0, tau, tau)


def test_choices_count_their_grid_towards_delta() -> None:
    top = fs.privacy.plan("gwas_top", 1000, bounds=(0, 1), rho=2)
    assert top.epsilon() == epsilon_for(Fraction(2), 1e-6, 2.0**-40) > epsilon_for(Fraction(2), 1e-6)
    asked = fs.privacy.plan("gwas_top", 1000, bounds=(0, 1), epsilon=12, delta=1e-6)
    assert asked.epsilon() <= 12
    assert asked.rho < fs.privacy.plan("mean", 1000, bounds=(0, 1), epsilon=12, delta=1e-6).rho


def test_losses_add_up_without_error() -> None:
    assert sum((loss(rho=0.1) for _ in range(10)), Fraction(0)) == 1


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"rho": 1, "epsilon": 1},
        {"rho": 1, "delta": 1e-6},
        {"epsilon": 1},
        {"delta": 1e-6},
        {"rho": 0},
        {"rho": -1},
        {"rho": float("nan")},
        {"rho": float("inf")},
        {"rho": "much"},
        {"rho": True},
        {"rho": None, "epsilon": 1, "delta": 1},
        {"rho": None, "epsilon": 1, "delta": 0},
        {"rho": None, "epsilon": -1, "delta": 1e-6},
        {"rho": MOST_RHO + 1},
        {"epsilon": 1e-30, "delta": 1e-300},
        {"rho": "1e-30"},
        {"rho": "1e-400"},
        {"epsilon": "1e-400", "delta": 1e-9},
        {"epsilon": 1, "delta": "1e400"},
        {"epsilon": 1, "delta": "1e-400"},
    ],
    ids=str,
)
def test_what_is_no_loss_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(fs.DataError):
        loss(**given)


def least(of: Callable[[Decimal], Decimal]) -> Decimal:
    """Return the minimum over all α − 1 of what one bounds, to far more digits than floats cancel."""
    low, high = Decimal(-10), Decimal(50)
    for _ in range(150):
        first, second = (2 * low + high) / 3, (low + 2 * high) / 3
        low, high = (low, second) if of(first.exp()) < of(second.exp()) else (first, high)
    return of(low.exp())


@pytest.mark.parametrize(
    ("rho", "delta"), [("10", 1e-12), ("1e-10", 1e-6), ("1e-10", 1e-9), ("1e-18", 1e-12), ("1e-18", 1e-100)]
)
def test_losses_are_never_told_too_small_however_tiny(rho: str, delta: float) -> None:
    epsilon = epsilon_for(Fraction(rho), delta)
    with localcontext(prec=60):
        its, given, told = Decimal(rho), Decimal(delta), Decimal(epsilon)
        exact = least(lambda x: its * (1 + x) - (given.ln() + (1 + x).ln()) / x + (x / (1 + x)).ln())
        assert exact <= told <= exact * (1 + Decimal("2e-9"))
        exact = least(lambda x: x * (its * (1 + x) - told) - x.ln() + (1 + x) * (x / (1 + x)).ln()).exp()
        assert exact <= Decimal(delta_for(Fraction(rho), epsilon)) <= exact * (1 + Decimal("2e-9"))


def test_epsilons_beyond_floats_are_the_largest_loss() -> None:
    assert loss(epsilon="1e400", delta=1e-6) == MOST_RHO
    assert loss(rho=LEAST_RHO) == LEAST_RHO


def test_nothing_costs_nothing() -> None:
    assert epsilon_for(0, 1e-6) == 0 == delta_for(0, 1.0)
    assert rho_for(1e9, 1e-6) == MOST_RHO


def test_a_plan_tells_the_noise_of_the_gate() -> None:
    planned = fs.privacy.plan("mean", 1000, bounds=(0, 120), rho=0.1)
    assert planned.errors["count"] == pytest.approx((2.25 / 0.2 * 3 / 2) ** 0.5)
    assert planned.errors["mean, at a bound"] == pytest.approx(planned.errors["count"] * 2**0.5 * 60 / 1000)
    assert planned.rho == Fraction(1, 10)
    assert "ρ = 0.1, (ε, δ) = (2.14, 1e-06)" in str(planned)
    with pytest.raises(fs.DataError, match="no private analysis is called 'men'"):
        fs.privacy.plan("men", 1000, rho=1)
    with pytest.raises(fs.DataError, match="positive"):
        fs.privacy.plan("mean", 1000, rho=1, sites=3, colluders=3)


def test_a_plan_never_promises_less_noise_than_is_drawn() -> None:
    default, one, all_others = (
        fs.privacy.plan("histogram", 1000, rho=0.1, sites=5, colluders=t).errors["count"]
        for t in (None, 1, 4)
    )
    assert default == one == pytest.approx((5 / 3 / 0.2) ** 0.5)
    assert all_others == pytest.approx((5 / 0.2) ** 0.5)


def test_every_private_analysis_has_a_plan() -> None:
    functions = {name for name in fs.privacy.__all__ if name[0].islower()} - {"plan"}
    functions -= {"delta_for", "epsilon_for", "rho_for"}
    for name in functions:
        frame = fs.privacy.plan(name, 1000, epsilon=1, delta=1e-6).to_frame()
        assert (frame["margin"] > frame["noise"]).all()
