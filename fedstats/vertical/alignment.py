"""Where the rows of several sites stand in one list of patients, as far as a site may know.

Each site lays its rows out in places of its own. Linked by equal identifiers, the places of all sites are the
same list, in which each site knows where its own rows stand. Linked by likeness (`similar`), they are not: a
secret matrix says which place of another site is which of the list, and numbers are moved by a product.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from fedstats.errors import DataError
from protocols.compare import BIT
from protocols.engine import Engine
from protocols.mersenne import Elements
from protocols.psi.intersection import Sizes, Universe
from protocols.secret import SecretArray, matmul


@dataclass(frozen=True, eq=False, repr=False)
class Alignment:
    """Places of rows, the same at every site but for `positions` and for the shares in `links`.

    Attributes
    ----------
    size
        How many places the common list has.
    positions
        Where this site's rows stand among its own places.
    places
        How many places each site has; 0 where a site is left out.
    sizes
        How many patients sites have in common.
    links
        Of sites whose places are not the list's: shares of bits, shape ``(blocks, places of the list in a
        block, of the site in a block, 2)``; a place of the list has at most one of the site's.
    """

    size: int
    positions: NDArray[np.int64]
    places: Mapping[str, int]
    sizes: Sizes
    links: Mapping[str, Elements] = field(default_factory=dict)

    @classmethod
    def of(cls, universe: Universe, sites: Sequence[str]) -> Alignment:
        """Return what linking by equal identifiers gives."""
        return cls(universe.size, universe.positions, dict.fromkeys(sites, universe.size), universe.sizes)

    def listed_by(self, site: str) -> Alignment:
        """Return the same patients in the list of a site's own places. Local.

        Raises
        ------
        DataError
            More than two sites are linked by way of another one's list.
        """
        if site not in self.links:
            return self
        [first] = [name for name, size in self.places.items() if size and name not in self.links]
        if len(self.links) > 1:
            raise DataError(
                f"three tables are linked with that of site {first}, the smallest, by rows that are alike: "
                f"what says when must be a column of that site, not of {site}"
            )
        back = np.ascontiguousarray(self.links[site].swapaxes(1, 2))
        return replace(self, size=self.places[site], links={first: back})

    def moved(self, engine: Engine, site: str, values: SecretArray) -> SecretArray:
        """Return numbers at a site's places as they stand in the list: 0 where the site has no row.

        Parameters
        ----------
        engine
            The computation.
        site
            Whose they are.
        values
            Shape ``(numbers, places of the site)``, 0 where it has no row.

        Returns
        -------
        SecretArray
            Shape ``(numbers, places of the list)``.

        Notes
        -----
        **Leakage.** Nothing. **Cost.** None where the places are the list's. Else one round, and an element a
        number and place to each other site; of p numbers p·pairs products at each.
        """
        if site not in self.links:
            return values
        links = SecretArray(engine, self.links[site], BIT)
        blocks, mine, theirs = links.shape
        count = len(values)
        by_block = values.reshape(count, blocks, theirs).transpose(1, 2, 0)
        found = matmul(links, by_block, bound=values.format.magnitude)
        return found.transpose(2, 0, 1).reshape(count, blocks * mine)
