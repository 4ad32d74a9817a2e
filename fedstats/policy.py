"""Rules on what may leave: the sites' common ones and each site's own.

The federation's rules stand in its manifest, signed by every site, and are the same everywhere.
A site's own rules stand in its `site.toml`; no other site needs to hold them, because each site
enforces its own before it contributes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from fedstats.errors import PolicyError


def _from_table(cls: type[Any], table: Mapping[str, object], where: str) -> Any:
    """Build a rules dataclass from a TOML table, refusing keys and types that it does not know."""
    known = {f.name: type(f.default) for f in fields(cls)}
    for key, value in table.items():
        if key not in known:
            raise PolicyError(f"{where}: [policy] knows no rule {key!r}; the rules are {', '.join(known)}")
        if type(value) is not known[key]:
            raise PolicyError(f"{where}: rule {key!r} must be of type {known[key].__name__}")
    return cls(**table)


@dataclass(frozen=True)
class FederationPolicy:
    """The rules that every site signed.

    Attributes
    ----------
    min_cell
        Descriptions and tests compute nothing of a column, or of a group's, with fewer pooled values than
        this; tables hide smaller counts and what they would follow from; quantiles have as many values up to
        them and from them on. Regressions do not look at it: leave out rare levels.
    """

    min_cell: int = 5

    def __post_init__(self) -> None:
        if self.min_cell < 1:
            raise PolicyError("rule 'min_cell' must be 1 at least")

    @classmethod
    def from_table(cls, table: Mapping[str, object], where: str) -> Self:
        """Read the manifest's ``[policy]`` table; `where` names the file in errors."""
        policy: Self = _from_table(cls, table, where)
        return policy


@dataclass(frozen=True)
class SitePolicy:
    """The rules of one site.

    Attributes
    ----------
    allow_aggregate
        Whether pooled sufficient statistics may be opened to all sites
        (``disclose="aggregate"``).
    allow_two_site_sums
        Whether a sum over two sites alone may be opened: each then learns the other's exact sum
        by subtracting its own. Both sites must allow it.
    allow_mpyc
        Whether scripts may run programs of MPyC (`Federation.mpyc`), whose outputs nobody declares: they
        are whatever the script says.
    """

    allow_aggregate: bool = True
    allow_two_site_sums: bool = False
    allow_mpyc: bool = False

    @classmethod
    def from_table(cls, table: Mapping[str, object], where: str) -> Self:
        """Read the ``[policy]`` table of `site.toml`; `where` names the file in errors."""
        policy: Self = _from_table(cls, table, where)
        return policy

    def check(self, analysis: str, disclose: str | None, sites: int) -> None:
        """Raise PolicyError unless this site may take part in `analysis`, which opens nothing for None."""
        if disclose == "aggregate" and not self.allow_aggregate:
            raise PolicyError(
                f"{analysis}: this site's rule allow_aggregate = false forbids disclose='aggregate'; "
                "its steward can change [policy] in site.toml"
            )
        if sites == 2 and disclose not in (None, "aggregate"):
            raise PolicyError(
                f"{analysis}: disclose={disclose!r} computes on shares, which hide nothing between two "
                "sites: invite a third one, or use disclose='aggregate'"
            )
        if sites == 2 and disclose is not None and not self.allow_two_site_sums:
            raise PolicyError(
                f"{analysis}: a sum over two sites tells each the other's; invite a third site, or let "
                "both stewards set allow_two_site_sums = true in [policy] of their site.toml"
            )
