"""The rules of this site and of all, as they bear on one analysis: what the gate asks before it opens.

Rules look at the analysis itself, and at the columns and rows that it has asked cohorts for by the time its
input was checked. Nothing is opened of an analysis that asks for others later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fedstats.errors import PolicyError
from fedstats.expressions import Array
from fedstats.policy import Demands, Use
from fedstats.rowsets import RowSet, by_id

if TYPE_CHECKING:
    from fedstats.cohort import Cohort
    from fedstats.federation import Federation


class Rules:
    """What this site's rules and the common ones say of one analysis.

    Parameters
    ----------
    federation
        The session.
    analysis, disclose
        The name and the disclosure mode.

    Attributes
    ----------
    columns
        What the analysis asked for when its input was last checked.
    demands
        What all sites must act on; nothing before they have agreed.
    """

    def __init__(self, federation: Federation, analysis: str, disclose: str | None) -> None:
        self.columns: tuple[str, ...] = ()
        self.demands = Demands()
        self._federation = federation
        self._analysis = analysis
        self._disclose = disclose
        self._members: tuple[Cohort, NDArray[np.intp]] | None = None
        self._told: Mapping[str, Demands] = {}
        self._row_sets: list[RowSet] = []
        self._linked: Sequence[bytes] | None = None
        federation.asked_columns.clear()
        federation.asked_widths.clear()
        self._use = self._look()

    def takes(self, cohort: Cohort, positions: NDArray[np.intp]) -> None:
        """Note which rows take part; all of the cohorts that are asked for anything, if it is not called."""
        self._members = (cohort, positions)

    @property
    def count_rows(self) -> bool:
        """Whether rules on the rows of all sites can apply, see `Use.counts_rows`."""
        return self._use.counts_rows

    @property
    def rows(self) -> int | None:
        """How many rows of this site take part; None before a cohort was asked for anything."""
        if self._members is not None:
            return len(self._members[1])
        # A site without a table takes part in computing on linked columns, and has no rows to protect.
        asked = [its for its in self._federation.asked_columns if getattr(its, "is_holder", True)]
        return min(map(len, asked), default=None)

    def numbers(self) -> dict[str, Array]:
        """Return this site's values of the columns of numbers that take part, by name."""
        values: dict[str, list[Array]] = {}
        for cohort, names in self._federation.asked_columns.items():
            rows = self._members[1] if self._members and self._members[0] is cohort else slice(None)
            for name in sorted(names):
                if cohort.schema.kinds[name].is_numeric:
                    values.setdefault(name, []).append(cohort.numbers(name)[rows])
        return {name: np.concatenate(its) for name, its in sorted(values.items())}

    def links(self, keys: Sequence[bytes]) -> None:
        """Note the identifiers of rows that are about to be linked."""
        self._linked = keys

    def check_call(self) -> None:
        """Raise PolicyError if a rule forbids the analysis itself, or the steward the script."""
        if self._federation.records is not None:
            self._federation.records.check_approval()
        policy, shared = self._federation.policy, self._federation.shared_policy
        policy.check_call(self._use)
        shared.check_call(self._use)
        policy.check_shared(self._use, shared)
        self._federation.check_encryption()

    def check_input(self, label: str) -> None:
        """Raise PolicyError if a rule forbids the columns or rows that were asked for by a step."""
        self.columns = tuple(sorted(self._asked()))
        self._use = self._look()
        self._federation.policy.check_input(self._use)
        self._federation.shared_policy.check_input(self._use)
        self._check_difference(label)

    def to_tell(self) -> dict[str, Any]:
        """Return what the other sites must act on too, as told to them; nothing where there is noise."""
        if not self._use.counts_rows:
            return {}
        both = (self._federation.policy, self._federation.shared_policy)
        return Demands.strictest(its.demands for its in both).to_wire()

    def agreed(self, told: Mapping[str, Demands]) -> None:
        """Take up what the sites demand, by site; and remember which rows are about to be analysed."""
        self._told = told
        if self._use.counts_rows:
            self.demands = Demands.strictest(told.values())
        for row_set in self._row_sets:
            self._federation.row_sets.remember(row_set)

    def refusal(self, rule: str, why: str) -> PolicyError:
        """Return the error, the same at every site, of a rule that all have acted on."""
        value = getattr(self.demands, rule)
        holders = ", ".join(site for site, its in self._told.items() if getattr(its, rule) == value)
        return PolicyError(f"{self._analysis}: the rule {rule} = {value} of site {holders} {why}")

    def check_complete(self, label: str) -> None:
        """Refuse to open anything of columns that no rule has looked at."""
        if late := self._asked() - self._use.columns:
            raise RuntimeError(
                f"{self._analysis} opens {label!r}, and used {', '.join(map(repr, sorted(late)))} after the "
                "sites had agreed: ask for every column in what is given to `agree`"
            )

    def _look(self) -> Use:
        """Return what rules look at, as far as it is known by now."""
        sites = len(self._federation.sites)
        return Use(
            self._analysis,
            self._disclose,
            sites,
            frozenset(self.columns),
            self.rows,
            dict(self._federation.asked_widths),
            self._federation.shared_policy.full,
        )

    def _asked(self) -> set[str]:
        return {name for names in self._federation.asked_columns.values() for name in names}

    def _check_difference(self, label: str) -> None:
        """Raise PolicyError if nearly the same rows of this site were analysed before, at the same step."""
        policy = self._federation.policy
        self._row_sets = []
        if not self._use.counts_rows or policy.min_difference < 2:
            return
        if self._linked is not None:
            keys = by_id(self._linked, np.zeros((len(self._linked), 0), np.bool_))
            self._check_near(self._federation.row_sets.hashed(f"{self._analysis}.{label}", (), keys))
        for cohort, columns in self._federation.asked_columns.items():
            rows = cohort.identities(sorted(columns))
            if self._members is not None and self._members[0] is cohort:
                rows = rows[self._members[1]]
            self._check_near(self._federation.row_sets.hashed(f"{self._analysis}.{label}", columns, rows))

    def _check_near(self, row_set: RowSet) -> None:
        policy = self._federation.policy
        if time := self._federation.row_sets.near(row_set, policy.min_difference):
            raise policy.refusal(
                self._use,
                "min_difference",
                f"forbids it, as rows that differ from these by fewer were analysed on {time}: use the same "
                "rows as then, or others",
            )
        self._row_sets.append(row_set)
