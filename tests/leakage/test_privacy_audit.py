"""What an attacker can tell from private results: never more than ρ allows.

The audit is of what sites contribute, by the gate's own noise, without the mesh: two honest sites of three,
which is all that stands against a third that knows its own. Of each analysis two neighbouring tables are
taken, as different as they can be, and the sums opened 100,000 times; the best test of one table against the
other is made, and a lower bound of ε computed of its two errors. So it is done for choices, which are made
as often.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import fedstats as fs
from fedstats import _noised
from fedstats.gwas.members import Members
from fedstats.gwas.packed import PackedBlock
from fedstats.gwas.plink import pack
from fedstats.ledger import Ledger
from fedstats.privacy import (
    association,
    counts,
    epsilon_for,
    frequencies,
    linear,
    logistic,
    moments,
    quantiles,
    survival,
)
from fedstats.privacy._call import Bounds
from fedstats.privacy._model import UNIT
from protocols import choice
from protocols.gumbel import BITS, gumbel

RHO = Fraction(1, 2)
DELTA = 1e-3


def opened(values: np.ndarray, squared: int, runs: int, *, rho: Fraction = RHO) -> np.ndarray:
    """Return what the honest sites' sums are, many times: one has the rows, the other none."""
    federation = SimpleNamespace(
        sites=("a", "b", "c"),
        policy=fs.policy.SitePolicy(),
        shared_policy=fs.policy.FederationPolicy(),
        ledger=Ledger(None),
        log=lambda *_, **__: None,
    )
    total = np.zeros((runs, values.size))
    for mine in (values, np.zeros_like(values)):
        loss = _noised.Loss(federation, "audit")  # type: ignore[arg-type]
        loss.reserve(rho, ())
        summand = loss.noise(np.broadcast_to(mine, (runs, values.size)), Fraction(squared), rho)
        total += summand.opened(summand.values).sums
    return total


def epsilon_at_least(
    without: np.ndarray, with_row: np.ndarray, squared: int, runs: int, rho: Fraction
) -> float:
    """Return a lower bound of ε at δ of what is opened of two neighbours, whose sums are given."""
    direction = (with_row - without).astype(np.float64)
    scores = [
        (opened(its, squared, runs, rho=rho) - without) @ direction / np.linalg.norm(direction) ** 2
        for its in (without, with_row)
    ]
    return least_epsilon(scores[0], scores[1], np.linspace(0.2, 4, 20), DELTA)


def least_epsilon(without: np.ndarray, with_row: np.ndarray, thresholds: np.ndarray, delta: float) -> float:
    """Return a lower bound of ε at δ, at 99 % confidence, from a test's scores of two neighbours."""
    best, runs = 0.0, len(without)
    confidence = 0.01 / (2 * len(thresholds))
    for threshold in thresholds:
        false, true = (int(np.count_nonzero(its > threshold)) for its in (without, with_row))
        most = stats.beta.isf(confidence, false + 1, runs - false)
        least = stats.beta.ppf(confidence, true, runs - true + 1) if true else 0.0
        if least > delta:
            best = max(best, float(np.log((least - delta) / most)))
    return best


Case = tuple[np.ndarray, np.ndarray, int]


def of_means() -> Case:
    z, _ = Bounds(0, 100).scaled(np.array([np.inf, 3.0, 50.0]), moments.UNIT)
    mine = moments.contributions(z)
    return mine[1:].sum(axis=0), mine.sum(axis=0), moments.squared_sensitivity(1)


def of_counts() -> Case:
    edges = np.array([0.0, 1.0, 2.0])
    values = np.array([0.5, 1.5, 1.7])
    return counts.in_bins(values[1:], edges), counts.in_bins(values, edges), counts.SQUARED_SENSITIVITY


def of_quantiles() -> Case:
    values, bounds = np.array([9.0, 0.3, -0.5]), Bounds(-1, 1)
    return (
        quantiles.tree(values[1:], bounds, 3),
        quantiles.tree(values, bounds, 3),
        quantiles.squared_sensitivity(1, 3),
    )


def of_cross_products() -> Case:
    rows = np.array([[1, 1, -1], [1, -1, 1]]) * UNIT
    with_row = linear.contributions(rows[:, :2], rows[:, 2])
    return linear.contributions(rows[1:, :2], rows[1:, 2]), with_row, linear.squared_sensitivity(2)


def of_derivatives() -> Case:
    rows, events, beta = np.array([[1, 1], [1, 0]]) * UNIT, np.array([1.0, 0.0]), np.array([-4.0, -4.0])
    with_row = logistic.contributions(rows, events, beta)
    return logistic.contributions(rows[1:], events[1:], beta), with_row, logistic.squared_sensitivity(2)


def of_curves() -> Case:
    times, durations, events = np.array([1.0, 2.0]), np.array([0.5, 1.5]), np.array([1.0, 0.0])
    with_row = survival.tally(durations, events, times)
    return survival.tally(durations[1:], events[1:], times), with_row, survival.SQUARED_SENSITIVITY


def of_frequencies() -> Case:
    """A person with two copies of everything, beside one with none."""
    size = 12
    two = np.tile([0, 1, 0], (size, 1))
    without, _ = frequencies.tally(np.zeros((size, 3), np.int64), 1)
    with_row, _ = frequencies.tally(two, 2)
    return without, with_row, size


MECHANISMS: dict[str, Callable[[], Case]] = {
    "means": of_means,
    "counts, tables and χ²": of_counts,
    "quantiles": of_quantiles,
    "cross-products": of_cross_products,
    "derivatives": of_derivatives,
    "curves": of_curves,
    "frequencies": of_frequencies,
}


@pytest.mark.parametrize("name", MECHANISMS)
@pytest.mark.parametrize("runs", [10_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_no_attack_tells_more_than_epsilon(name: str, runs: int) -> None:
    without, with_row, squared = (np.asarray(its) for its in MECHANISMS[name]())
    distance = with_row.astype(object) - without.astype(object)
    assert (distance**2).sum() <= squared
    found = epsilon_at_least(without, with_row, int(squared), runs, RHO)
    assert found <= epsilon_for(RHO, DELTA)


def test_the_audit_would_notice_half_the_noise() -> None:
    """The positive control; and the audit comes near enough to ε to mean something."""
    without, with_row, squared = of_counts()
    true = epsilon_at_least(without, with_row, squared, 20_000, RHO)
    assert 0.45 * epsilon_for(RHO, DELTA) < true <= epsilon_for(RHO, DELTA)
    assert epsilon_at_least(without, with_row, squared, 20_000, 4 * RHO) > epsilon_for(RHO, DELTA)


#: Of choices: what a person can change a score by, how many scores there are, and what they are without her.
SENSITIVITY, CANDIDATES, SCORE = 3, 20, 30


def neighbours(k: int) -> list[np.ndarray]:
    """Return scores without and with a person, who raises k of them and lowers the others."""
    change = np.where(np.arange(CANDIDATES) < k, SENSITIVITY, -SENSITIVITY)
    return [np.full(CANDIDATES, SCORE), SCORE + change]


def choices(scores: np.ndarray, weight: int, k: int, honest: int, runs: int) -> np.ndarray:
    """Return who is chosen with the noise of so many honest sites, many times."""
    noise = sum(gumbel(runs * CANDIDATES, np.random.default_rng(site).bytes) for site in range(honest))
    noisy = scores * weight + np.asarray(noise).reshape(runs, -1)
    return np.argsort(-noisy, axis=1, kind="stable")[:, :k]


def log_odds(orders: np.ndarray, weight: int) -> np.ndarray:
    """Return by how much more probable each order is with the person: of all tests the best, by Neyman."""
    found = np.zeros(len(orders))
    for sign, scores in zip((-1, 1), neighbours(orders.shape[1]), strict=True):
        weights = np.exp(np.ldexp((scores - float(SCORE)) * weight, -BITS))
        left = np.full(len(orders), weights.sum())
        for column in orders.T:
            found += sign * np.log(weights[column] / left)
            left -= weights[column]
    return found


def epsilon_of_choices(k: int, honest: int, runs: int, rho: Fraction, delta: float) -> float:
    """Return a lower bound of ε of a choice, whether the person is added or removed."""
    weight = choice.weight(SENSITIVITY, rho, k)
    found = [log_odds(choices(scores, weight, k, honest, runs), weight) for scores in neighbours(k)]
    thresholds = np.quantile(np.concatenate(found), np.linspace(0.02, 0.98, 25)) - 1e-9
    return max(
        least_epsilon(found[0], found[1], thresholds, delta),
        least_epsilon(-found[1], -found[0], -thresholds[::-1] - 2e-9, delta),
    )


@pytest.mark.parametrize(("k", "honest"), [(1, 1), (1, 2), (4, 1), (4, 2)])
@pytest.mark.parametrize("runs", [20_000, pytest.param(200_000, marks=pytest.mark.slow)])
def test_no_attack_on_choices_tells_more_than_epsilon(k: int, honest: int, runs: int) -> None:
    """One site's noise is all that stands against those who know the others'. ε = √(8ρ) holds with no δ."""
    found = epsilon_of_choices(k, honest, runs, RHO, DELTA)
    assert found <= epsilon_for(RHO, DELTA)
    if k == 1:
        assert epsilon_of_choices(k, honest, runs, RHO, 0.0) <= float(8 * RHO) ** 0.5


def test_the_audit_would_notice_half_the_noise_of_choices() -> None:
    epsilon = float(8 * RHO) ** 0.5
    assert 0.7 * epsilon < epsilon_of_choices(1, 1, 20_000, RHO, 0.0) <= epsilon
    assert epsilon_of_choices(1, 1, 20_000, 4 * RHO, 0.0) > epsilon
    assert epsilon_of_choices(4, 1, 20_000, 4 * RHO, DELTA) > epsilon_for(RHO, DELTA)


VARIANTS, PEOPLE = 10_000, 1_000


@pytest.fixture(scope="module")
def study() -> dict[str, np.ndarray]:
    random = np.random.default_rng(12)
    population = random.uniform(0.05, 0.5, VARIANTS)
    people = random.binomial(2, population, (2 * PEOPLE, VARIANTS)).astype(np.int8)
    return {"population": population, "members": people[:PEOPLE], "strangers": people[PEOPLE:]}


def auc(study: dict[str, np.ndarray], published: np.ndarray) -> float:
    """The probability that the attack of Homer et al. scores a member higher than a stranger."""
    gap = published - study["population"]
    scores = [(study[who] / 2 - study["population"]) @ gap for who in ("members", "strangers")]
    return float((scores[0][:, np.newaxis] > scores[1]).mean())


def test_noisy_frequencies_hide_who_is_among_the_samples(study: dict[str, np.ndarray]) -> None:
    exact = study["members"].mean(axis=0) / 2
    assert auc(study, exact) > 0.9
    calls = [np.count_nonzero(study["members"] == copies, axis=0) for copies in (1, 2, -1)]
    sums, _ = frequencies.tally(np.column_stack(calls).astype(np.int64), PEOPLE)
    rho = Fraction(1, 10)
    attacked = []
    for _ in range(4):  # a single draw lies between 0.55 and 0.61
        noisy = opened(sums, VARIANTS, 1, rho=rho * (1 - frequencies.FOR_CALLS))[0]
        found = frequencies.estimate(noisy, 1.0, PEOPLE, 1.0, 0.95)["effect_allele_frequency"].to_numpy()
        attacked.append(auc(study, found))
    assert np.mean(attacked) <= 0.60
    # With a hundred times the loss it would not.
    near = opened(sums, VARIANTS, 1, rho=100 * rho)[0]
    assert auc(study, 0.5 + near / (2 * PEOPLE)) > 0.75


#: What a row can hold: anything that floats can, whole numbers that they cannot, and texts that no level has.
VALUES = st.one_of(
    st.floats(width=64), st.sampled_from([0.0, 1.0, np.nan, np.inf, -np.inf, 1e308, -5e-324, 10.0])
)
NUMBERS = st.one_of(VALUES, st.sampled_from([10**400, -(10**400)]))
ROWS = st.fixed_dictionaries(
    {
        "x": NUMBERS,
        "y": NUMBERS,
        "e": NUMBERS,
        "g": st.sampled_from(["a", "b", "undeclared", None]),
        "b": st.booleans(),
    }
)
BASE = pd.DataFrame(
    {
        "x": [3.0, 5.0, 8.0],
        "y": [1.0, 2.0, 4.0],
        "e": [0.0, 1.0, 1.0],
        "g": ["a", "b", "b"],
        "b": [True, False, True],
    }
)
P = fs.privacy
RELEASES: dict[str, Callable[[fs.Cohort], object]] = {
    "mean": lambda c: P.mean(c, ["x", "y"], bounds=(0, 10), by="g", rho=1),
    "histogram": lambda c: P.histogram(c, "x", [-np.inf, 0, 5, 10], by="g", rho=1),
    "crosstab": lambda c: P.crosstab(c, ["g", "b"], rho=1),
    "value_counts": lambda c: P.value_counts(c, "g", rho=1),
    "quantile": lambda c: P.quantile(c, ["x", "y"], depth=4, bounds=(0, 10), rho=1),
    "kaplan_meier": lambda c: P.kaplan_meier(c, "x", "e", [1, 4, 9], by="g", rho=1),
    "ols": lambda c: P.ols("y ~ x + C(g) + b", c, bounds={"x": (0, 10), "y": (-1, 1)}, rho=1),
    "logit": lambda c: P.logit(
        "e ~ x + C(g) + y", c, bounds={"x": (0, 10), "y": (-1, 1)}, iterations=1, rho=1
    ),
}


class Contribution(Exception):
    """What a site was about to add noise to, and the sensitivity that it told."""

    def __init__(self, values: np.ndarray, squared: Fraction) -> None:
        self.summand = values.astype(object)
        self.squared = squared


def contribution(analysis: Callable[[fs.Cohort], object], rows: pd.DataFrame) -> Contribution:
    """Return what the first release of an analysis sums at a site with these rows."""

    def caught(_: _noised.Loss, values: np.ndarray, squared: Fraction, rho: Fraction) -> Any:
        raise Contribution(values, squared)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_noised.Loss, "noise", caught)
        with pytest.raises(Contribution) as stopped:
            fs.simulate(
                lambda federation, its: analysis(federation.cohort(its, levels={"g": ["a", "b"]})), [rows] * 2
            )
    return stopped.value


@pytest.mark.parametrize("name", RELEASES)
@settings(max_examples=15, deadline=None)
@given(row=ROWS)
def test_one_row_changes_sums_by_no_more_than_is_told(name: str, row: dict[str, Any]) -> None:
    """Whatever the row holds, it is no error, and the squared distance of the sums is bounded exactly."""
    without = contribution(RELEASES[name], BASE)
    with_row = contribution(RELEASES[name], pd.concat([BASE, pd.DataFrame([row])], ignore_index=True))
    assert without.squared == with_row.squared
    assert ((with_row.summand - without.summand) ** 2).sum() <= without.squared


def test_what_a_row_adds_to_derivatives_depends_on_that_row_alone() -> None:
    """Its neighbours may decide how a matrix product rounds."""
    random = np.random.default_rng(5)
    for _ in range(100):
        X = random.integers(-UNIT, UNIT + 1, (9, 12))
        beta, events = random.normal(size=12), np.zeros(9)
        assert (logistic.log_odds(X, beta)[1:] == logistic.log_odds(X[1:], beta)).all()
        np.testing.assert_allclose(logistic.log_odds(X, beta), X @ beta / UNIT, rtol=0, atol=1e-12)
        every, without, alone = (
            logistic.contributions(X[part], events[part], beta) for part in (slice(9), slice(1, 9), slice(1))
        )
        np.testing.assert_array_equal(every - without, alone)


def test_bounds_of_sensitivity_are_reached() -> None:
    """No noise is wasted: there are rows that change the sums by as much as is told."""
    for name in ("means", "counts, tables and χ²", "quantiles", "cross-products", "curves", "frequencies"):
        without, with_row, squared = MECHANISMS[name]()
        assert ((with_row - without).astype(object) ** 2).sum() == squared
    z = np.arange(-moments.UNIT, moments.UNIT + 1, 7)
    assert (
        (moments.contributions(z).astype(object) ** 2).sum(axis=1) <= moments.squared_sensitivity(1)
    ).all()


@settings(max_examples=50, deadline=None)
@given(
    value=VALUES,
    calls=st.lists(st.integers(-1, 2), min_size=6, max_size=6),
    mean=st.integers(-UNIT, UNIT),
)
def test_one_person_changes_scores_by_no_more_than_is_told(value: float, calls: list[int], mean: int) -> None:
    """Whatever the trait and the genotypes are; and an extreme person does change them by as much."""

    def tallied(values: list[float], genotypes: np.ndarray) -> np.ndarray:
        whole, used = Bounds(0, 10).scaled(np.array(values), UNIT)
        members = Members(np.flatnonzero(used), np.zeros(used.size, np.int64))
        plain = np.zeros(len(genotypes), np.int8)
        packed = PackedBlock(
            pack(genotypes.astype(np.int8)), np.arange(len(genotypes)), plain > 0, plain, members
        )
        return association.tally(packed, members, whole[used] - mean)

    others = np.array([[0, 1], [2, 2], [1, 0], [-1, 2], [0, 0], [1, 1]])
    without = tallied([3.0, 8.0], others)
    with_row = tallied([3.0, 8.0, value], np.column_stack([others, calls]))
    assert np.abs(with_row - without).max() <= UNIT + abs(mean)
    extreme = tallied([3.0, 8.0, 0.0 if mean > 0 else 10.0], np.column_stack([others, [2] * 6]))
    assert np.abs(extreme - without).max() == UNIT + abs(mean)
