"""Grouping columns: each site's rows as codes of levels on which all sites agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fedstats import levels as level_sets
from fedstats.errors import DataError
from fedstats.schema import Kind

if TYPE_CHECKING:
    from fedstats.cohort import Cohort


@dataclass(frozen=True, eq=False, repr=False)
class Factor:
    """One grouping column of this site's rows, before the sites have agreed on its levels.

    Attributes
    ----------
    name
        The column.
    texts
        The level of each row, None where missing.
    """

    cohort: Cohort
    name: str
    texts: NDArray[np.object_]

    @classmethod
    def build(cls, cohort: Cohort, name: str, role: str) -> Factor:
        """Take a column as groups; `role` is the argument that names it, for errors."""
        if not isinstance(name, str):
            raise DataError(f"{role} is the name of one column: make one of several before, at every site")
        if cohort.schema.require(name) is Kind.EMPTY:
            raise DataError(f"column {name!r} has no value at any site and makes no groups")
        return cls(cohort, name, cohort.texts(name))

    @property
    def missing(self) -> NDArray[np.bool_]:
        """Where a row belongs to no group."""
        return np.array([text is None for text in self.texts], dtype=bool)

    def told(self, used: NDArray[np.bool_]) -> dict[str, Any]:
        """Return the levels of the rows that are used, as told to the other sites; {} if declared."""
        if self.name in self.cohort.declared_levels:
            return {}
        present = self.texts[used]
        levels = level_sets.used(present)
        level_sets.check_tellable(self.name, levels, len(present), self.cohort.schema.require(self.name))
        return {self.name: level_sets.to_metadata(levels, self.cohort.categories(self.name))}

    def merge(self, told: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
        """Return the levels of all sites, in their agreed order.

        Parameters
        ----------
        told
            What each site published; `told` returned its part of ``"levels"``.
        """
        if self.name in self.cohort.declared_levels:
            return self.cohort.declared_levels[self.name]
        by_site = {site: its.get("levels") for site, its in told.items()}
        kind = self.cohort.schema.require(self.name)
        return level_sets.merge(self.name, by_site, kind, self.cohort.categories(self.name))

    def codes(self, levels: tuple[str, ...], used: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the position in `levels` of each row that is used."""
        position = {level: code for code, level in enumerate(levels)}
        return np.array([position[text] for text in self.texts[used]], dtype=np.int64)
