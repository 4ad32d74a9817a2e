"""Saddle points of score tests on shares: of each tail, what its P value follows from, and nothing else.

The sites share power series of their parts of K (`saddle_sums`). With γ on shares, they make that of
S(t) = t|U| − K(t) over all samples, of which the largest value is wanted:

1. Which allele is the rarer says which of the two mirror images' series belongs to which tail.
2. The range of t is cut into cells. S' falls, and its signs at the cells' ends say in which one it is 0; the
   series about the middle of that cell is chosen by these bits.
3. There S is nearly a parabola, and the point where S' = 0 follows from the coefficients by reversion. An
   error of it counts for S in second order.
4. With w = √(2S) and v = t·√(−S''), r* = w + log(v/w)/w [1]_ is opened, of either tail.

Sites leave out series that do not converge (`saddle_sums`). One that does not reach the saddle point makes
coefficients that do not belong together. Comparisons with public bounds find that out on shares, and all that
follows relies on these; such numbers are replaced, and 0 is opened of the variant. The saddle point of the
less likely tail may lie beyond its range: by Chernoff's bound that tail has a probability below e^−S, with S
at the range's end, and where that is nothing beside the other tail's, 0 is opened of it.

References
----------
.. [1] O. E. Barndorff-Nielsen, "Approximate interval probabilities", Journal of the Royal Statistical Society
   B 52, 1990, 485–496.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from fedstats.gwas._saddle_ranges import Ranges
from fedstats.gwas.saddle_sums import (
    FIRST,
    LARGEST_FIRST,
    LARGEST_RATIO,
    LARGEST_SECOND,
    POWERS,
    SECOND,
    UNREACHABLE,
    SaddleSums,
)
from protocols.compare import BIT, complement, negative
from protocols.divide import Divisor, inverse_sqrt
from protocols.fixed import Format, fraction_for
from protocols.functions import log
from protocols.inputs import share
from protocols.secret import SecretArray, concatenate, inner, multiply, select, stack

if TYPE_CHECKING:
    from protocols.engine import Engine

Floats = NDArray[np.float64]

#: Fractional bits to which r* is opened.
PRECISION: Final = 20
#: With more sites, inverse square roots leave no room for their masks: P values are then of binomial numbers.
MOST_SITES: Final = 11
#: Shared numbers of all sites that are held at a time: 16 bytes each.
HELD: Final = 1 << 22
#: Cells of a range, and powers in a cell.
CELLS: Final = 8
DEGREE: Final = 4
#: Fractional bits of projections and their units, of series, of corrections, and of what is in a cell.
PROJECTED, UNIT, SERIES, CORRECTION, LOCAL = 36, 16, 26, 28, 30
#: Largest |Δ|·τ·√n, over all sites together: with more, two orders of Δ are too few.
FARTHEST: Final = 8.0
#: Largest change of t within a cell, in halves of it, as follows from what its coefficients are held to.
CHANGE: Final = 3.7
#: Least and largest curvature in such units, largest S, and least S and t.
FLATTEST, STEEPEST, HIGHEST, LEAST = 2.0**-14, 2.0**8, 2.0**11, 0.25
#: By how much S of a tail is larger whose probability does not count.
MARGIN: Final = 6.0
#: Largest t in units of half a cell.
LONGEST: Final = 2.0**8


def variants_at_a_time(sites: int, terms: int) -> int:
    """Return of how many variants a site holds the shares at a time, if no more than a block travels."""
    entries = 2 * terms + 4 * (POWERS + 1 + (FIRST + 1) * terms + terms * (terms + 1) // 2 + SECOND)
    return max(1, HELD // (sites * entries))


def tails(engine: Engine, mine: SaddleSums, where: Ranges, n: int) -> SecretArray:
    """Return r* of both tails of each variant, the likelier first: ``(2, variants)``, still secret.

    Parameters
    ----------
    engine
        The computation.
    mine
        What this site adds.
    where
        Where saddle points are looked for.
    n
        Samples of all sites.

    Notes
    -----
    **Leakage.** Nothing. **Cost.** 167 rounds for three sites, whatever the number of variants.
    """
    series, near = _objective(engine, mine, where, n)
    chosen = _cell(series, near)
    r, found, rare = _r_star(chosen, where)
    known = _bit(multiply(found[0], found[1] + multiply(chosen.beyond[1], rare)))
    return multiply(r, stack([known, multiply(known, found[1])])).rescale(PRECISION)


def neg_log10_p(opened: Floats) -> Floats:
    """Return −log10 of the two-sided P values of r*; NaN where there is no saddle point."""
    # Zeros come out of the rounding as zero or a few units in the last place.
    known = opened > LEAST / 2
    found = -np.logaddexp(*np.where(known, stats.norm.logsf(opened), -np.inf)) / np.log(10)
    return np.where(known[0], found, np.nan)


# --- The series of all sites -------------------------------------------------------------------------


def _objective(engine: Engine, mine: SaddleSums, where: Ranges, n: int) -> tuple[SecretArray, SecretArray]:
    """Return coefficients of S in (t − centre) / radius, and bits: whether the sites' guesses are near γ.

    Shapes ``(2, variants, POWERS + 1)`` and ``(variants,)``.
    """
    (variants, terms), sites = mine.own.shape, engine.n
    # Beyond ten sites, what can be masked leaves room for fewer.
    projected = min(PROJECTED, fraction_for(engine, np.sqrt(4.5 * sites)))
    places = min(SERIES, engine.room - 52)
    both = share(engine, np.stack([mine.projection, mine.own]), bound=1.001, fraction=projected)
    excess = share(engine, mine.excess, bound=2 * n).sum(axis=0)
    cumulants = share(engine, mine.cumulants, bound=UNREACHABLE, fraction=places).sum(axis=0)
    first = share(engine, mine.first, bound=LARGEST_FIRST, fraction=CORRECTION)
    second = share(engine, mine.second, bound=LARGEST_SECOND, fraction=CORRECTION - 4)
    ratios = share(engine, mine.ratios, bound=LARGEST_RATIO, fraction=CORRECTION - 12)

    # No γ is longer than 1, by Cauchy and Schwarz.
    missed = (both[:, 0].sum(axis=0).assume(1.01) - both[:, 1]).assume(2.1)
    missed = missed.transpose(1, 0, 2).reshape(variants, sites * terms)
    unit = where.longest * np.sqrt(n)
    length = inner(missed, missed, bound=4.5 * sites)
    answers = negative(concatenate([length - FARTHEST**2 / unit**2, excess]))
    near, rare = answers[:variants], answers[variants:]
    factor = np.rint(np.ldexp(unit, UNIT)).astype(np.int64)
    scaled = multiply(missed, near.reshape(-1, 1)) * factor[:, np.newaxis]
    exact = Format.of(FARTHEST + 0.01, projected + UNIT)
    missed = SecretArray(engine, scaled.shares, exact).rescale(CORRECTION)

    first = first.transpose(1, 2, 3, 4, 0, 5).reshape(2, 2, variants, FIRST + 1, sites * terms)
    bound = 1.01 * FARTHEST * LARGEST_FIRST * sites
    shift = inner(first, missed.reshape(variants, 1, -1), bound=bound, fraction=places)
    by_site = missed.reshape(variants, sites, terms)
    one, two = np.triu_indices(terms)
    squares = multiply(by_site[:, :, one], by_site[:, :, two])
    # A positive matrix makes no more of a vector than its trace times the squared length, over all sites too.
    bound = 1.01 * LARGEST_SECOND * FARTHEST**2
    bent = inner(second.transpose(1, 2, 3, 0, 4), squares, bound=bound, fraction=CORRECTION)
    bent = bent.assume(bound).reshape(2, 2, variants, 1, sites)
    higher = inner(bent, ratios.transpose(1, 2, 3, 4, 0), bound=LARGEST_RATIO * bound, fraction=places)
    lowest = bent.sum(axis=-1).rescale(places)
    bends = concatenate([lowest, higher], axis=3) - shift[..., : SECOND + 1]
    corrected = cumulants[..., : FIRST + 1] + concatenate([bends, -shift[..., SECOND + 1 :]], axis=3)
    series = concatenate([corrected, cumulants[..., FIRST + 1 :]], axis=3)

    # The tail of more copies of the rarer allele among cases has the series of h if that allele is counted.
    straight = rare if where.rises else complement(rare)
    counted, other = stack([series[0, 0], series[1, 1]]), stack([series[1, 0], series[0, 1]])
    target = np.zeros((2, variants, POWERS + 1))
    target[..., 0], target[..., 1] = where.target * where.centre, where.target * where.radius
    return -select(straight.reshape(1, -1, 1), counted, other) + target, near


# --- The cell in which S' is 0 -----------------------------------------------------------------------


@dataclass(frozen=True, eq=False, repr=False)
class Cell:
    """What was found of the ranges, ``(2, variants)``.

    Attributes
    ----------
    inside, beyond
        Bits: whether S' is 0 in the range and the series can be relied upon; whether it is 0 beyond.
    end
        S at the end of the range.
    place
        The cell's middle, in units of half a cell from that of the range.
    curvature
        −S'' there, in such units; 1 where not inside.
    value
        S there.
    local
        Coefficients of the first, third and fourth power of S about it, ``(3, 2, variants)``; 0 where not
        inside.
    """

    inside: SecretArray
    beyond: SecretArray
    end: SecretArray
    place: SecretArray
    curvature: SecretArray
    value: SecretArray
    local: SecretArray


def _cell(series: SecretArray, near: SecretArray) -> Cell:
    """Find the cell, and the series about its middle."""
    engine, bound = series.engine, series.format.magnitude
    ends = np.arange(CELLS + 1) - CELLS // 2
    orders = np.arange(POWERS + 1)
    # The slope at the ends of cells, all times the same whole number.
    falling = np.maximum(POWERS - orders, 0)
    slopes = orders[:, np.newaxis] * _powers(ends, orders - 1) * (CELLS // 2) ** falling[:, np.newaxis]
    rises = complement(negative(series @ slopes))
    first, last = rises[..., :1], rises[..., -1]
    which = (rises[..., :-1] - rises[..., 1:]).assume(1)

    # Coefficients about the middle of each cell, from those about the middle of the range.
    middles = 2 * np.arange(CELLS) + 1 - CELLS
    about = np.zeros((POWERS + 1, CELLS, DEGREE + 1), np.int64)
    for order in range(POWERS + 1):
        for power in range(min(order, DEGREE) + 1):
            factor = comb(order, power) * CELLS ** (POWERS - order)
            about[order, :, power] = factor * middles ** (order - power)
    finer = series @ about.reshape(POWERS + 1, -1)
    bits = POWERS * (CELLS.bit_length() - 1)
    largest = bound * float(about.sum(axis=0).max()) / 2.0**bits
    exact = Format.of(largest, series.format.fraction + bits)
    finer = SecretArray(engine, finer.shares, exact).rescale(LOCAL)
    finer = finer.reshape(*series.shape[:2], CELLS, DEGREE + 1).transpose(0, 1, 3, 2)
    s = inner(finer, which.reshape(*series.shape[:2], 1, CELLS))
    value, linear, curvature, cubic, quartic = (s[..., power] for power in range(DEGREE + 1))
    curvature = -2 * curvature

    # Parts of the curvature of 9/8, 1/8 and 1/16.
    bounded = [part * sign for part in (8 * linear, 72 * cubic, 144 * quartic) for sign in (1, -1)]
    questions = [9 * curvature - part for part in bounded]
    questions += [curvature - FLATTEST, STEEPEST - curvature]
    sound = complement(negative(stack(questions)))
    usable = multiply(near.reshape(1, -1, 1), first)[..., 0]
    beyond, inside = multiply(usable, last), multiply(usable, complement(last))
    inside = _all([inside, *(sound[at] for at in range(len(sound)))])
    kept = multiply(stack([linear, cubic, quartic, curvature, value]), inside)
    curvature = (kept[3] + complement(inside)).assume(STEEPEST)
    end = series.sum(axis=-1)
    return Cell(inside, _bit(beyond), end, which @ middles, curvature, kept[4], kept[:3])


def _powers(x: NDArray[np.int64], exponents: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the powers of whole numbers, a row for each exponent; those below 0 count as 0."""
    return np.asarray(x[np.newaxis] ** np.maximum(exponents, 0)[:, np.newaxis])


# --- The formula -------------------------------------------------------------------------------------


def _r_star(cell: Cell, where: Ranges) -> tuple[SecretArray, SecretArray, SecretArray]:
    """Return r*, and bits: where it is one, and where the second tail has no share in P if it is beyond."""
    parts = Divisor(cell.curvature).into(cell.local, bound=1.2, fraction=LOCAL)
    b, cubic, quartic = parts[0].assume(1.13), parts[1].assume(0.126), parts[2].assume(0.063)
    # S' = 0 where b − x + 3c·x² + 4q·x³ = 0, with x in powers of b.
    both = multiply(b, stack([3 * cubic, b]))
    p, square = both[0].assume(0.43), both[1].assume(1.3)
    both = multiply(stack([4 * quartic, p]), stack([square, p]))
    q, pp = both[0].assume(0.33), both[1].assume(0.19)
    higher = multiply(p, q + pp).assume(0.24)
    x = multiply(b, 1 + p + q + 2 * pp + 5 * higher).assume(CHANGE)
    both = multiply(x, stack([x, quartic, cubic]))
    square, quartic_x, cubic_x = (both[at] for at in range(3))
    both = multiply(square.assume(14), stack([cubic + quartic_x, quartic]))
    rest = multiply(x, b - x / 2 + both[0].assume(6)).assume(32)
    curved = 1 - 6 * cubic_x - 12 * both[1].assume(1)
    changed = multiply(cell.curvature, stack([rest, curved.assume(16)]))
    value, curvature = cell.value + changed[0], changed[1]
    t = x + cell.place + CELLS * where.centre / where.radius

    questions = [value - LEAST, HIGHEST - value, curvature - FLATTEST, t - LEAST, LONGEST - t]
    questions = [question.ravel() for question in questions] + [cell.end[1] - value[0] - MARGIN]
    answers = complement(negative(concatenate(questions)))
    sound, rare = answers[: -len(where.target)].reshape(5, *t.shape), answers[-len(where.target) :]
    found = _all([cell.inside, *(sound[at] for at in range(len(sound)))])
    kept = multiply(stack([value, curvature, t]), found) + complement(found)
    value, curvature, t = kept[0].assume(HIGHEST), kept[1].assume(16 * STEEPEST), kept[2].assume(LONGEST)
    logs = log(stack([2 * value, curvature.assume(2 * HIGHEST), t.assume(2 * HIGHEST)])).rescale(LOCAL)
    root = inverse_sqrt(2 * value).rescale(LOCAL).assume(1.5)
    half = (logs[1] + 2 * logs[2] - logs[0]).assume(32) / 2
    return multiply(root, 2 * value + half), found, rare


def _all(bits: list[SecretArray]) -> SecretArray:
    """Return the products of bits: as many rounds as the logarithm of their number."""
    while len(bits) > 1:
        pairs = multiply(stack(bits[: len(bits) // 2]), stack(bits[len(bits) // 2 : len(bits) // 2 * 2]))
        bits = [pairs[at] for at in range(len(pairs))] + bits[len(bits) // 2 * 2 :]
    return _bit(bits[0])


def _bit(x: SecretArray) -> SecretArray:
    return SecretArray(x.engine, x.shares, BIT)
