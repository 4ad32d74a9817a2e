"""Noise: what one analysis may lose of privacy at this site, and what it does lose.

Used by the gate alone (`Analysis.reserve`, `Analysis.release`, `Analysis.choose`), which opens what has
noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fedstats.errors import DataError, PolicyError
from fedstats.ledger import Reservation
from protocols import choice, noise
from protocols.discrete_gaussian import MAX_VARIANCE
from protocols.shamir import threshold

if TYPE_CHECKING:
    from fedstats.federation import Federation

#: What the ledger calls rows that no budget limits and no file is registered of.
UNREGISTERED = "(unregistered)"


@dataclass(frozen=True, eq=False)
class Noisy:
    """Sums over all sites with noise, the same at every site.

    Attributes
    ----------
    sums
        Float64, in units of the integers that were summed.
    variance
        Of the noise of each. It is that of all sites' noise, hence more than what protects the rows, and a
        little more than the noise has.
    """

    sums: NDArray[np.float64]
    variance: float


def colluders(federation: Federation) -> int:
    """Return how many sites may pool their noise, t: as many as shares hide from, or as all sites signed.

    One at least: each site knows the noise that it drew.
    """
    shared, others = federation.shared_policy, len(federation.sites) - 1
    return max(1, others if shared.full else others // 2, shared.colluders)


def data_sets(federation: Federation, sources: Sequence[Path | None]) -> list[str]:
    """Return whose budgets pay for rows that were read from some files.

    Those of all names of a file pay. Rows of files that this site has not registered, or that the script
    made up, may be anybody's: every budget pays for them.
    """
    of_each = [federation.registered(source) for source in sources]
    names = frozenset().union(*of_each)
    if not all(of_each) or not names:
        names |= federation.ledger.limits.keys() or {UNREGISTERED}
    return sorted(names)


class Loss:
    """The privacy loss of one analysis at this site, reserved before it begins.

    Parameters
    ----------
    federation
        The session.
    label
        The analysis, as the ledger books it.
    """

    def __init__(self, federation: Federation, label: str) -> None:
        self._federation = federation
        self._label = label
        self._reservations: list[Reservation] = []
        self._left = Fraction(0)
        self._begun = False

    def reserve(self, rho: Fraction, sources: Sequence[Path | None], *, on_shares: bool = False) -> None:
        """Reserve a loss; called once, by what `Analysis.agree` is given. See `Analysis.reserve`."""
        mine, shared = self._federation.policy.colluders, colluders(self._federation)
        sites = len(self._federation.sites)
        hidden_from = sites - 1 if self._federation.shared_policy.full else threshold(sites)
        if on_shares and shared > hidden_from:
            raise PolicyError(
                f"{self._label}: it is computed on shares, which hide from {hidden_from} of {sites} sites, "
                f"and noise hides from {shared}: let more sites take part, or all sign an epoch against a "
                "dishonest majority"
            )
        if mine > shared:
            raise PolicyError(
                f"{self._label}: this site's rule colluders = {mine} asks for noise that hides rows from "
                f"so many, and the sites draw it against {shared}: let all sign an epoch with colluders = "
                f"{mine}"
            )
        for data in data_sets(self._federation, sources):
            made = self._federation.ledger.reserve(data, self._label, rho)
            self._reservations.append(made)
            self._federation.log(
                "budget.reserved", data=data, number=made.number, digest=made.digest, rho=str(rho)
            )
        self._left = rho

    def witness(self) -> None:
        """Let the other sites countersign the log that holds the reservations, before anything is opened."""
        records = self._federation.records
        if records is not None and not self._begun:
            records.witness(self._federation.party, self._label)

    def close(self) -> None:
        """Settle what was reserved, at the end of the analysis however it ends.

        Once noise was drawn others may hold the sum, and it is spent. Else it is returned, which the audit
        log has to say before the ledger may.
        """
        made, self._reservations, self._left = self._reservations, [], Fraction(0)
        for its in made:
            if not self._begun and self._federation.records is not None:
                self._federation.records.log("budget.returned", number=its.number)
            self._federation.ledger.settle(its, "spent" if self._begun else "returned")

    def noise(self, values: NDArray[Any], squared_sensitivity: Fraction, rho: Fraction) -> Summand:
        """Add this site's noise to its summands."""
        honest = noise.honest(len(self._federation.sites), colluders(self._federation))
        finer = 0
        while squared_sensitivity * 4**finer < 2 * rho * honest * noise.LEAST**2:
            finer += 1
        variance = noise.site_variance(squared_sensitivity * 4**finer, rho, honest, values.size)
        if variance > MAX_VARIANCE:
            raise DataError(f"{self._label} asks for more noise than integers hold: let it cost more")
        self._spend(rho)
        mine = noise.add_noise(np.asarray(values, np.int64) << finer, variance)
        return Summand(mine, finer, float(len(self._federation.sites) * variance / 4**finer))

    def weight(self, sensitivity: int, rho: Fraction, k: int) -> int:
        """Return what `choice.largest` takes to make k choices cost ρ, which is spent from here on."""
        found = choice.weight(sensitivity, rho, k)
        self._spend(rho)
        return found

    def _spend(self, rho: Fraction) -> None:
        if rho > self._left:
            raise RuntimeError(f"{self._label} opens more with noise than it has reserved")
        self._left -= rho
        self._begun = True


@dataclass(frozen=True, eq=False, repr=False)
class Summand:
    """This site's integers with its noise, in units of 2^−finer, and the variance of all sites' noise."""

    values: NDArray[np.int64]
    finer: int
    variance: float

    def opened(self, total: NDArray[Any]) -> Noisy:
        """Return what the sum of all sites' summands is."""
        return Noisy(np.ldexp(total.astype(np.float64), -self.finer), self.variance)
