"""Choices with noise: exact Gumbel samples, the chances that they make, and what is chosen on shares."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from engine_helpers import compute, compute_alike
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from protocols import choice, gumbel
from protocols.engine import Engine

#: Of the tests of fit: they are seeded, so that they do not fail by chance.
ALPHA = 1e-3
SAMPLES = 200_000
CELL, WITHIN = 1 << 12, 1 << 41


def seeded(seed: int) -> gumbel.Entropy:
    return np.random.default_rng(seed).bytes


def test_samples_fit_the_distribution() -> None:
    samples = gumbel.gumbel(SAMPLES, seeded(1))
    x = np.ldexp(samples.astype(np.float64), -gumbel.BITS)
    assert stats.kstest(x, stats.gumbel_r().cdf).pvalue > ALPHA
    # Neither a scale nor a place that is wrong by 2 % would fit.
    assert stats.kstest(x * 1.02, stats.gumbel_r().cdf).pvalue < ALPHA
    assert stats.kstest(x + 0.02, stats.gumbel_r().cdf).pvalue < ALPHA
    # Within cells too, and down to the last bits.
    assert stats.kstest(x * CELL % 1, "uniform").pvalue > ALPHA
    assert stats.chisquare(np.bincount(samples & 15, minlength=16)).pvalue > ALPHA
    assert np.unique(samples).size == SAMPLES


def test_production_draws_on_the_system() -> None:
    assert not np.array_equal(gumbel.gumbel(100), gumbel.gumbel(100))
    assert gumbel.gumbel(0).shape == (0,)


@given(st.integers(0, 2**64 - 1))
def test_cells_are_those_of_more_bits(word: int) -> None:
    """Doubles, where they decide, decide as enclosures do; bits that follow do not change it."""
    words, asked = np.array([word], np.uint64), []

    def noticed(size: int) -> bytes:
        asked.append(size)
        return b"\x5a" * size

    found = int(gumbel._cells(words, noticed)[0])
    if asked:
        assert found == gumbel._resolved(word, lambda size: b"\x5a" * size)
        return
    for rest in (b"\x00", b"\xff"):
        assert gumbel._resolved(word, lambda size, rest=rest: rest * size) == found


def test_words_on_the_edge_of_a_cell_take_more_bits() -> None:
    cell = 300
    edge = gumbel._cumulated(Fraction(cell, CELL), 64).low
    assert gumbel._resolved(edge, lambda size: b"\x00" * size) == cell - 1
    assert gumbel._resolved(edge, lambda size: b"\xff" * size) == cell
    for rest, its in ((b"\x00", cell - 1), (b"\xff", cell)):
        assert gumbel._cells(np.array([edge], np.uint64), lambda size, rest=rest: rest * size) == its
    # The ends of the range: samples stay in it.
    first, last = (gumbel._cells(np.array([its], np.uint64), seeded(5))[0] for its in (0, 2**64 - 1))
    assert -4 * CELL < first < -3 * CELL < 44 * CELL < last < gumbel.MOST * CELL


@pytest.mark.parametrize(("cell", "within"), [(0, 0), (5_000, 77), (-14_000, WITHIN // 3), (90, WITHIN - 1)])
def test_coins_near_their_chance_are_decided_by_enclosures(cell: int, within: int) -> None:
    low, x, high = cell / CELL, cell / CELL + within / 2**53, (cell + 1) / CELL
    edge = int(np.exp(low - x + np.exp(-high) - np.exp(-x)) * 2**64)
    # By 2^−45 and 2^−40: within the margin of doubles, which then ask for more bits, and beyond.
    for gap, asks in ((2**19, True), (2**24, False)):
        for word, falls in ((edge - gap, True), (edge + gap, False)):
            asked: list[int] = []

            def noticed(size: int, asked: list[int] = asked) -> bytes:
                asked.append(size)
                return b"\x5a" * size

            its = np.array([cell]), np.array([within]), np.array([word], np.uint64)
            assert gumbel._coins(*its, noticed)[0] == falls == gumbel._falls(cell, within, word, seeded(1))
            assert bool(asked) == asks


def charge(sensitivity: int, weight: int, k: int) -> Fraction:
    """Return what choices cost: k·ε²/8, where ε/2 is what a row can change a score by, in units of noise."""
    half = Fraction(weight * sensitivity, 1 << gumbel.BITS)
    return k * half * half / 2


@given(st.fractions("1/1000000000", 100, max_denominator=10**12), st.integers(1, 100), st.integers(1, 2**16))
def test_choices_cost_what_they_may_and_hardly_less(rho: Fraction, k: int, sensitivity: int) -> None:
    its = choice.weight(sensitivity, rho, k)
    assert charge(sensitivity, its, k) <= rho < charge(sensitivity, its + 1, k)
    assert charge(sensitivity, its, k) > rho * Fraction(99999, 100000)


def test_what_cannot_be_chosen_is_refused() -> None:
    for k, rho in ((0, 1), (101, 1), (1, Fraction(1, 1 << 200))):
        with pytest.raises(ValueError, match="choices"):
            choice.weight(1, Fraction(rho), k)


#: A small case: √(2ρ/k)/Δ is ½, so that the weights are exp(s/2).
SCORES, K, RHO, SENSITIVITY = np.array([0, 3, 1, 4, 2]), 2, Fraction(1), 2


def chances(k: int) -> dict[tuple[int, ...], float]:
    """Return the probability of each order of k choices, by the exponential mechanism one after the other."""
    weights = np.exp(SCORES / 2)
    found = {}
    for order in itertools.permutations(range(len(SCORES)), k):
        left, chance = weights.sum(), 1.0
        for place in order:
            chance *= weights[place] / left
            left -= weights[place]
        found[order] = chance
    return found


def chosen(scores: np.ndarray, its_weight: int, k: int, runs: int, seed: int, parties: int = 1) -> np.ndarray:
    """Choose many times with the noise of some parties, without shares."""
    noise = sum(gumbel.gumbel(runs * scores.size, seeded(seed + party)) for party in range(parties))
    noisy = (scores * its_weight + np.asarray(noise).reshape(runs, -1)).astype(np.int64)
    return np.argsort(-noisy, axis=1, kind="stable")[:, :k]


@pytest.mark.parametrize("k", [1, 2])
def test_choices_have_the_chances_of_the_exponential_mechanism(k: int) -> None:
    runs, its_weight = 50_000, choice.weight(SENSITIVITY, RHO * k / 2, k)
    orders = chosen(SCORES, its_weight, k, runs, seed=4)
    expected = chances(k)
    observed = [np.count_nonzero((orders == order).all(axis=1)) for order in expected]
    assert sum(expected.values()) == pytest.approx(1)
    assert stats.chisquare(observed, np.array(list(expected.values())) * runs).pvalue > ALPHA
    # With noise that is weaker by a twentieth they would not be.
    orders = chosen(SCORES, its_weight * 21 // 20, k, runs, seed=4)
    observed = [np.count_nonzero((orders == order).all(axis=1)) for order in expected]
    assert stats.chisquare(observed, np.array(list(expected.values())) * runs).pvalue < ALPHA


@pytest.mark.parametrize("n", [3, 4, 7])
def test_what_is_chosen_on_shares_is_what_the_noisy_scores_say(n: int) -> None:
    values = np.random.default_rng(n).integers(-1000, 1000, (n, 60))
    values[0, :3] = 2**62  # clipped, and still the largest
    its_weight = choice.weight(50, Fraction(1, 2), 5)

    def program(engine: Engine) -> np.ndarray:
        mine = values[engine.party.index]
        places = choice.largest(engine, mine, 5, its_weight, seeded(engine.party.index))
        return places.reveal("places")

    found = compute_alike(n, program)
    most = (choice.REACH << gumbel.BITS) // (its_weight * n)
    sums = np.abs(values.astype(object).clip(-most, most).sum(axis=0)) * its_weight
    noisy = sums + sum(gumbel.gumbel(60, seeded(party)).astype(object) for party in range(n))
    np.testing.assert_array_equal(found, np.argsort(-noisy, kind="stable")[:5])


def test_each_party_draws_its_own_noise() -> None:
    """Of equal sums another one is chosen each time."""

    def program(engine: Engine) -> list[int]:
        places = choice.largest(engine, np.zeros(1000, np.int64), 10, 1 << 40)
        return places.reveal("places").tolist()

    first, second = (compute(3, program)["a"] for _ in range(2))
    assert len(set(first)) == 10
    assert first != second


@pytest.mark.parametrize("n", [3, 5, 9, 10])
def test_bounds_leave_room_for_masks(n: int) -> None:
    """At the least and the largest loss, and with as many parties as shares are made for."""

    def room(engine: Engine) -> int:
        return engine.room

    for rho, k in ((Fraction(100), 1), (Fraction(1, 10**6), 100)):
        its_weight = choice.weight(1 << 14, rho, k)
        most = max(1, (choice.REACH << gumbel.BITS) // (its_weight * n))
        bound = most * n * its_weight + n * (gumbel.MOST << gumbel.BITS)
        assert bound.bit_length() + 1 <= min(compute(n, room).values())
