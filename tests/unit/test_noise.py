"""Noise that parties draw together: what it costs, and that it suffices whoever tells what it drew."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest

from protocols import noise


def renyi(variance: int, parties: int, shift: int, alpha: float) -> float:
    """Divergence of order α of so many parties' noise from the same shifted, by summing over integers."""
    reach = 12 * int(variance**0.5)
    x = np.arange(-reach, reach + 1)
    one = np.exp(-(x**2) / (2 * variance))
    total = one / one.sum()
    for _ in range(parties - 1):
        total = np.convolve(total, one / one.sum())
    p, q = total[shift:], total[: len(total) - shift]
    used = (p > 1e-60) & (q > 1e-60)
    return float(np.log(np.sum(p[used] ** alpha * q[used] ** (1 - alpha))) / (alpha - 1))


@pytest.mark.parametrize("parties", [1, 2, 4])
@pytest.mark.parametrize("alpha", [1.5, 2.0, 4.0])
def test_the_divergence_is_what_is_charged(parties: int, alpha: float) -> None:
    variance, shift = noise.LEAST**2, 7
    charged = noise.charge(Fraction(shift**2), Fraction(variance), parties, 1)
    assert renyi(variance, parties, shift, alpha) == pytest.approx(alpha * float(charged), rel=1e-9)


@pytest.mark.parametrize("rho", [Fraction(1, 1000), Fraction(1, 7), Fraction(9)], ids=str)
@pytest.mark.parametrize("honest", [1, 2, 50])
@pytest.mark.parametrize("dimension", [1, 10**7])
def test_noise_costs_what_was_asked_and_hardly_less(rho: Fraction, honest: int, dimension: int) -> None:
    squared = Fraction(10**9)
    variance = noise.site_variance(squared, rho, honest, dimension)
    charged = noise.charge(squared, variance, honest, dimension)
    assert charged <= rho
    assert float(charged / rho) == pytest.approx(1, abs=1e-11)
    assert variance * honest == pytest.approx(squared / (2 * rho), rel=1e-11)


def test_sums_of_discrete_gaussians_cost_more_than_gaussians() -> None:
    of_one, of_two = (noise.charge(Fraction(100), Fraction(300), honest, 5) for honest in (1, 2))
    assert of_one == Fraction(100, 600)
    assert Fraction(100, 1200) < of_two < Fraction(100, 1200) + Fraction(1, 1 << 3000)


def test_noise_on_too_coarse_a_lattice_is_refused() -> None:
    with pytest.raises(ValueError, match="standard deviation of 16"):
        noise.site_variance(Fraction(1), Fraction(1, 10), 2, 1)


@pytest.mark.parametrize(("parties", "colluders", "dropouts"), [(3, 1, 0), (5, 2, 1), (6, 2, 2)])
def test_whoever_colludes_or_drops_out_enough_noise_is_left(
    parties: int, colluders: int, dropouts: int
) -> None:
    squared, rho, draws = Fraction(10_000), Fraction(1, 2), 20_000
    needed = float(squared / (2 * rho))
    honest = noise.honest(parties, colluders, dropouts)
    variance = noise.site_variance(squared, rho, honest, 1)
    zeros = np.zeros(draws, np.int64)
    drawn = [noise.add_noise(zeros, variance, np.random.default_rng(party).bytes) for party in range(parties)]
    for left in combinations(range(parties), honest):
        its = sum(drawn[party] for party in left).var()
        assert its == pytest.approx(needed, rel=5 * (2 / draws) ** 0.5)
    assert noise.honest(parties, colluders, dropouts) == parties - colluders - dropouts


@pytest.mark.parametrize(("parties", "colluders", "dropouts"), [(3, 3, 0), (3, 2, 1), (3, -1, 0), (3, 0, -1)])
def test_somebody_must_be_left(parties: int, colluders: int, dropouts: int) -> None:
    with pytest.raises(ValueError, match="leave nobody"):
        noise.honest(parties, colluders, dropouts)


def test_noise_is_added_and_keeps_the_shape() -> None:
    values = np.arange(6).reshape(2, 3) << 40
    noisy = noise.add_noise(values, Fraction(10**6))
    assert noisy.shape == values.shape
    assert noisy.dtype == np.int64
    assert 0 < np.abs(noisy - values).max() < 20_000
