"""The privacy budget of a site: how much of its rows noisy results may tell in all, and what keeps count.

Losses are counted in ρ of zero-concentrated differential privacy, which add up over analyses, as exact
fractions. An analysis reserves what it will cost at every site before any noise is drawn; what was reserved
counts as spent until it is known that nothing was opened.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from fractions import Fraction

from fedstats.errors import BudgetError


class Reservation(ABC):
    """A part of a budget that was reserved for one analysis."""

    @abstractmethod
    def spent(self) -> None:
        """Note that results were opened, or may have been."""

    @abstractmethod
    def returned(self) -> None:
        """Give it back: nothing was opened, and no noise drawn."""


class Budget(ABC):
    """What keeps count of a site's privacy loss, as `Federation.budget`."""

    @abstractmethod
    def reserve(self, *, analysis: str, rho: Fraction) -> Reservation:
        """Set a part aside, before any noise is drawn.

        Parameters
        ----------
        analysis
            Which analysis of the session it is for.
        rho
            What it will cost, exactly.

        Raises
        ------
        BudgetError
            There is less left.
        """


class MemoryBudget(Budget):
    """A budget that is kept in memory, for simulated sites and a single session.

    Parameters
    ----------
    limit
        What may be spent in all.

    Attributes
    ----------
    limit
        As given.
    used
        What was spent or is reserved.
    """

    def __init__(self, limit: Fraction) -> None:
        self.limit = limit
        self.used = Fraction(0)

    def reserve(self, *, analysis: str, rho: Fraction) -> Reservation:
        """Set a part aside; see `Budget.reserve`."""
        left = self.limit - self.used
        if rho > left:
            raise BudgetError(
                f"{analysis} costs ρ = {float(rho):.4g}, and {float(left):.4g} of this site's budget of "
                f"{float(self.limit):.4g} are left: ask for less, or let the steward decide on another budget"
            )
        self.used += rho
        return _Part(self, rho)


class _Part(Reservation):
    """A part of a `MemoryBudget`."""

    def __init__(self, budget: MemoryBudget, rho: Fraction) -> None:
        self._budget = budget
        self._rho = rho

    def spent(self) -> None:
        self._rho = Fraction(0)

    def returned(self) -> None:
        self._budget.used -= self._rho
        self._rho = Fraction(0)
