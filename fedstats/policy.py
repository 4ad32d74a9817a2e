"""Rules on what may leave: the sites' common ones and each site's own.

The federation's rules stand in its manifest, signed by every site, and are the same everywhere.
A site's own rules stand in its `site.toml`; no other site needs to hold them, because each site
enforces its own before it contributes. A rule that stands in both places holds as the stricter has it.

Most rules a site decides alone, and refuses by itself: then all sites stop, and nothing was opened. Some
concern what only all sites have together, see `Demands`: those are told to the other sites with the
agreement of each analysis, and all sites act on the strictest.

Rules on numbers of rows do not apply with ``disclose="noised"``: noise hides every row, and whether there are
as many as a rule asks for would be told without noise.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from fnmatch import translate
from functools import lru_cache
from typing import Any, ClassVar, Self

from fedstats import disclosure
from fedstats._toml import place, unknown
from fedstats.errors import PolicyError

#: What scripts may need of a site's steward: nothing, an approval, or more than it gives.
MODES = ("open", "approve", "deny")
#: Against how many passive colluders shares hide: fewer than half of the sites, or all but one.
SECURITIES = ("honest-majority", "dishonest-majority")
#: Smallest and largest value of each rule that is a number.
_RANGES: Mapping[str, tuple[float, float]] = {
    "min_sites": (2, 256),
    "colluders": (0, 255),
    "min_rows": (0, 1 << 40),
    "min_pooled_rows": (0, 1 << 40),
    "max_parameters": (1e-6, 1.0),
    "max_site_share": (0.001, 1.0),
    "max_row_share": (0.001, 1.0),
    "max_digits": (3, 17),
    "min_cell": (1, 1 << 40),
    "max_quasi_identifiers": (0, 1000),
    "min_difference": (1, 1 << 40),
    "link_megabits": (0, 1_000_000),
}
_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    tuple: "a list of texts",
    dict: "a table of positive numbers by column",
    str: "a text",
}


@dataclass(frozen=True)
class Use:
    """What an analysis is about to do, as far as rules look at it.

    Attributes
    ----------
    analysis
        Its name.
    disclose
        The disclosure mode; None for what opens nothing.
    sites
        How many sites take part.
    columns
        The columns that it uses.
    rows
        How many rows of this site take part; None where it uses no table.
    widths
        Columns of numbers whose values it counts, by bins of this width; 0 where it counts each value apart,
        and where nobody knows the width beforehand.
    full
        Whether shares hide each site from all others together.
    """

    analysis: str
    disclose: str | None
    sites: int
    columns: frozenset[str] = frozenset()
    rows: int | None = None
    widths: Mapping[str, float] = field(default_factory=dict)
    full: bool = False

    @property
    def counts_rows(self) -> bool:
        """Whether rules on numbers of rows apply: to what is opened without noise."""
        return self.disclose not in (None, "noised")


@dataclass(frozen=True)
class Demands:
    """Rules that all sites must act on together, though only one may hold them.

    Attributes
    ----------
    min_pooled_rows
        Analyses of fewer rows over all sites are refused. It is decided on shares, so that nobody learns
        the number.
    max_parameters
        Models with more parameters than this part of the rows over all sites are refused: such a model is
        near to telling the rows themselves. A part below the default is decided on shares, likewise; others
        once the number of rows is open, as that of every model is.
    max_site_share
        Analyses in which a site has more than this part of the rows of all are refused, likewise: what is
        opened would be little else than that site's. In thousandths.
    max_row_share
        Columns of numbers in which a row makes up more than this part of the sum of all magnitudes are
        refused, likewise: what is opened would tell about that row. In thousandths.
    max_digits
        Significant decimal digits to which results are rounded before they are opened.
    """

    min_pooled_rows: int = 0
    max_parameters: float = 0.33
    max_site_share: float = 1.0
    max_row_share: float = 1.0
    max_digits: int = 17

    @classmethod
    def strictest(cls, demands: Iterable[Demands]) -> Demands:
        """Return what satisfies all of several, one at least."""
        several = list(demands)
        strict = {
            rule.name: (max if rule.name.startswith("min") else min)(
                getattr(its, rule.name) for its in several
            )
            for rule in fields(cls)
        }
        return cls(**strict)

    @property
    def bits(self) -> int:
        """Bits of a mantissa of so many decimal digits."""
        return math.ceil(self.max_digits * math.log2(10))

    def holds(self, rule: str) -> bool:
        """Tell whether a rule demands more than is demanded by default."""
        its, default = getattr(self, rule), getattr(Demands, rule)
        return bool(its > default if rule.startswith("min") else its < default)

    def to_wire(self) -> dict[str, Any]:
        """Return what differs from the default, to be told to the others."""
        return {rule: value for rule, value in vars(self).items() if value != getattr(Demands, rule)}

    @classmethod
    def from_wire(cls, table: Any) -> Demands | None:
        """Read what another site told; None if that is no demand."""
        if type(table) is not dict or not table.keys() <= asdict(cls()).keys():
            return None
        for key, value in table.items():
            if not isinstance(key, str) or _unfit(key, value, type(getattr(cls, key))):
                return None
        return cls(**table)


@dataclass(frozen=True)
class _Rules:
    """The rules that sites can hold together or alone."""

    allow_result: bool = True
    allow_gated: bool = True
    allow_aggregate: bool = True
    allow_noised: bool = True
    min_sites: int = 3
    colluders: int = 1
    min_rows: int = 0
    min_pooled_rows: int = 0
    max_parameters: float = Demands.max_parameters
    max_site_share: float = 1.0
    max_row_share: float = 1.0
    max_digits: int = 17

    _whose: ClassVar[str]
    _remedy: ClassVar[str]

    def __post_init__(self) -> None:
        for rule in fields(self):
            if why := _unfit(rule.name, getattr(self, rule.name), _kind(rule)):
                raise PolicyError(f"rule {rule.name!r} {why}")

    @classmethod
    def from_table(cls, table: Mapping[str, object], where: str, text: str = "") -> Self:
        """Read a ``[policy]`` table, refusing rules, types and values that are not understood.

        Parameters
        ----------
        table
            The table.
        where
            The file, as errors name it.
        text
            What stands in the file, by which errors name the line.

        Raises
        ------
        PolicyError
            Naming the file, the line, the rule and the remedy.
        """
        known = {rule.name: _kind(rule) for rule in fields(cls)}
        for key, value in table.items():
            at = place(where, text, key, "policy")
            if key not in known:
                raise PolicyError(f"{at}: {unknown('policy', 'rule', key, known)}")
            if why := _unfit(key, value, known[key]):
                raise PolicyError(f"{at}: rule {key!r} {why}")
        try:
            values: dict[str, Any] = {
                key: tuple(its) if isinstance(its, list) else its for key, its in table.items()
            }
            return cls(**values)
        except PolicyError as error:
            raise PolicyError(f"{where}: {error}") from None

    @property
    def demands(self) -> Demands:
        """What the other sites must act on too."""
        return Demands(**{rule.name: getattr(self, rule.name) for rule in fields(Demands)})

    def check_call(self, use: Use) -> None:
        """Raise PolicyError unless the analysis may run at all, whatever it is given."""
        if use.disclose is None:
            return
        if not getattr(self, rule := f"allow_{use.disclose}"):
            raise self.refusal(
                use, rule, f"forbids disclose={use.disclose!r}: use another mode of disclosure"
            )
        if use.disclose == "aggregate" and self.max_digits < 17:
            raise self.refusal(
                use,
                "max_digits",
                "rounds what is opened, and disclose='aggregate' opens exact sums: use another mode",
            )
        alone = use.sites == 2 and not use.full and use.counts_rows
        if alone and (pooled := self._decided_on_shares()):
            raise self.refusal(
                use, pooled, "is decided on shares, which hide nothing between two sites: invite a third"
            )
        if not self._enough_sites(use):
            raise self.refusal(use, "min_sites", f"asks for more sites than {use.sites}: invite others")
        needed = self._needed(use)
        if use.sites < needed:
            raise self.refusal(
                use,
                "colluders",
                f"asks for {needed} sites, as {self.colluders} of {use.sites} together would learn too much "
                f"with disclose={use.disclose!r}: invite others",
            )

    def check_input(self, use: Use) -> None:
        """Raise PolicyError unless the analysis may have the columns and rows that it asks for."""
        if use.counts_rows and use.rows is not None and use.rows < self.min_rows:
            raise self.refusal(
                use, "min_rows", "asks for more rows of this site: use more rows, or columns with fewer gaps"
            )

    def _decided_on_shares(self) -> str | None:
        """Return a rule that takes three sites, if this policy has one."""
        demands = self.demands
        return next((rule for rule in vars(demands) if rule != "max_digits" and demands.holds(rule)), None)

    def _enough_sites(self, use: Use) -> bool:
        return use.sites >= self.min_sites

    def _needed(self, use: Use) -> int:
        """Return how many sites hide each from `colluders` of them: n − t ≥ 2; on shares also n ≥ 2t + 1.

        Where shares hide each site from all others, sums need n − t ≥ 2 still, results n ≥ t + 1. Noise of
        one site alone is enough: n − t ≥ 1.
        """
        if use.disclose == "noised":
            return self.colluders + 1
        if use.disclose == "aggregate":
            return self.colluders + 2
        return self.colluders + 1 if use.full else 2 * self.colluders + 1

    def refusal(self, use: Use, rule: str, why: str) -> PolicyError:
        """Return the error that says which rule forbids it, why, and what to do."""
        value = getattr(self, rule)
        return PolicyError(
            f"{use.analysis}: {self._whose} rule {rule} = {as_toml(value)} {why}; or {self._remedy}"
        )


@dataclass(frozen=True)
class FederationPolicy(_Rules):
    """The rules that every site signed.

    Attributes
    ----------
    allow_result, allow_gated, allow_aggregate, allow_noised, min_sites, colluders, min_rows, \
    min_pooled_rows, max_parameters, max_site_share, max_row_share, max_digits
        As for `SitePolicy`, whose defaults for the numbers of sites and of parameters are the stricter ones.
    min_cell
        Descriptions and tests compute nothing of a column, or of a group's, with fewer pooled values than
        this; tables hide smaller counts and what they would follow from; quantiles have as many values up to
        them and from them on. Regressions do not look at it: leave out rare levels.
    security
        What results are computed on: ``"honest-majority"``, shares that hide from fewer than half of the
        sites; or ``"dishonest-majority"``, shares that hide from all others together, for two sites too, at
        some ten to a hundred times the traffic.
    link_megabits
        How much the links between the sites carry, in megabits a second, where that is little; 0 if it does
        not matter. With a dishonest majority, products that would take longer to send over such links by
        oblivious transfer are then made by Paillier's encryption, which takes ``fedstats[he]`` at every site.
    """

    min_sites: int = 2
    colluders: int = 0
    max_parameters: float = 1.0
    min_cell: int = 5
    security: str = SECURITIES[0]
    link_megabits: int = 0

    _whose: ClassVar[str] = "the federation's"
    _remedy: ClassVar[str] = "let all sites sign an epoch with another value in [policy] of federation.toml"

    @property
    def full(self) -> bool:
        """Whether shares hide each site from all others together."""
        return self.security == SECURITIES[1]


@dataclass(frozen=True)
class SitePolicy(_Rules):
    """The rules of one site.

    Attributes
    ----------
    allow_result, allow_gated, allow_aggregate, allow_noised
        Which modes of disclosure may be used. The third opens pooled sufficient statistics to all sites, and
        the last sums with noise (`fedstats.privacy`): alone it lets differentially private results pass only.
        To that one the rules from `min_rows` to `max_digits`, and `min_difference`, do not apply.
    min_sites
        Analyses over fewer sites are refused.
    colluders
        How many other sites may work together against this one. Exact sums are refused where so many leave
        fewer than two others, n − t < 2, since they could subtract their own rows; computing on shares,
        where they could put the secrets together, n < 2t + 1.
    min_rows
        Analyses in which fewer rows of this site take part are refused. With a formula, rows that miss a
        value of one of its columns do not count.
    min_pooled_rows, max_parameters, max_site_share, max_row_share, max_digits
        What all sites act on, see `Demands`. What is decided on shares takes three sites or more. The last
        concerns fractions: counts, ranks and quantiles, which are values of rows, are opened as they are. It
        forbids ``disclose="aggregate"``; with few digits, a fit by iterations may not converge.
    allow_two_site_sums
        Whether a sum over two sites alone, or a result of two, may be opened: each then learns the other's
        by subtracting its own from the sum, and what the result says of it. Both sites must allow it.
    allow_mpyc
        Whether scripts may run programs of MPyC (`Federation.mpyc`), whose outputs nobody declares: they
        are whatever the script says. No other rule looks into them.
    functions, deny_functions
        Names or patterns (``"gwas.*"``) of the analyses that may run, and of those that may not although they
        are among the former.
    columns, deny_columns
        Likewise, of columns.
    identifiers
        Columns (or patterns) that say who a row is: no analysis may use them, but as the ``id`` of a cohort.
    quasi_identifiers, max_quasi_identifiers
        Columns that together may say who a row is, and of how many one analysis may use.
    min_bin_width
        Column of numbers → width that bins of a histogram must have at least. Neither may such a column be
        used as a category, nor its histogram's bins be derived from the rows.
    sensitive
        Columns that only analyses may use that open results, not sums (``disclose="aggregate"``).
    min_cell
        What the federation's ``min_cell`` must be at least.
    approval
        What scripts need of the steward: ``"open"`` nothing, ``"approve"`` an approval by
        ``fedstats approve``, ``"deny"``: no script runs.
    min_difference
        Analyses of the same kind and columns, over row sets of this site that differ by fewer rows than
        this, are refused, in one session or in several; 1 allows all.
    """

    allow_two_site_sums: bool = False
    allow_mpyc: bool = False
    functions: tuple[str, ...] = ("*",)
    deny_functions: tuple[str, ...] = ()
    columns: tuple[str, ...] = ("*",)
    deny_columns: tuple[str, ...] = ()
    identifiers: tuple[str, ...] = ()
    quasi_identifiers: tuple[str, ...] = ()
    max_quasi_identifiers: int = 3
    min_bin_width: Mapping[str, float] = field(default_factory=dict)
    sensitive: tuple[str, ...] = ()
    min_cell: int = 1
    approval: str = "open"
    min_difference: int = 1

    _whose: ClassVar[str] = "this site's"
    _remedy: ClassVar[str] = "its steward can change [policy] in site.toml"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.allow_two_site_sums and self.min_sites > 3:
            raise PolicyError(
                f"the rules allow_two_site_sums = true and min_sites = {self.min_sites} contradict each "
                "other: drop one of them"
            )
        if self.allow_two_site_sums and self.colluders > 1:
            raise PolicyError(
                f"the rules allow_two_site_sums = true and colluders = {self.colluders} contradict each "
                "other: drop one of them"
            )

    @classmethod
    def from_table(cls, table: Mapping[str, object], where: str, text: str = "") -> Self:
        """Read the ``[policy]`` table of `site.toml`; see `_Rules.from_table`.

        A function that no analysis has is an error too: a misspelt name would forbid nothing.
        """
        policy = super().from_table(table, where, text)
        for rule in ("functions", "deny_functions"):
            for pattern in getattr(policy, rule):
                if not _matches([pattern], disclosure.known()):
                    near = difflib.get_close_matches(pattern, disclosure.known(), n=1)
                    raise PolicyError(
                        f"{place(where, text, rule, 'policy')}: rule {rule!r} names {pattern!r}, and no "
                        "analysis is called so; "
                        + (f"did you mean {near[0]!r}?" if near else "leave it out, or update fedstats")
                    )
        return policy

    def check_call(self, use: Use) -> None:
        """Raise PolicyError unless the analysis may run at all, whatever it is given."""
        if use.disclose is None:
            return
        if not _matches(self.functions, [use.analysis]):
            raise self.refusal(use, "functions", "does not list this analysis: use one that it lists")
        if _matches(self.deny_functions, [use.analysis]):
            raise self.refusal(use, "deny_functions", "forbids this analysis: use another one")
        if use.sites == 2:
            self._check_two(use)
        super().check_call(use)

    def check_input(self, use: Use) -> None:
        """Raise PolicyError unless the analysis may have the columns and rows that it asks for."""
        super().check_input(use)
        if use.disclose is None:
            return
        for rule, allowed, why in (
            ("columns", True, "does not list {}: leave it out, and name the columns that you want"),
            ("deny_columns", False, "forbids {}: leave it out, and name the columns that you want"),
            ("identifiers", False, "says that {} identifies people: leave it out"),
        ):
            its = getattr(self, rule)
            wrong = [name for name in sorted(use.columns) if bool(_matches(its, [name])) != allowed]
            if wrong:
                raise self.refusal(use, rule, why.format(_names(wrong)))
        if use.disclose == "aggregate" and (wrong := _matches(self.sensitive, use.columns)):
            raise self.refusal(
                use,
                "sensitive",
                f"lets nobody open sums of {_names(wrong)}: use another mode than 'aggregate'",
            )
        for name, width in sorted(use.widths.items()):
            if width < self.min_bin_width.get(name, 0):
                raise self.refusal(
                    use, "min_bin_width", f"asks for bins of {name!r} that wide: give a histogram such edges"
                )
        quasi = _matches(self.quasi_identifiers, use.columns)
        if len(quasi) > self.max_quasi_identifiers:
            raise self.refusal(
                use,
                "max_quasi_identifiers",
                f"is exceeded by {_names(quasi)}, which together may say who a row is: use fewer of them",
            )

    def check_shared(self, use: Use, shared: FederationPolicy) -> None:
        """Raise PolicyError unless the federation's rules are as strict as this site asks them to be."""
        if use.disclose is not None and shared.min_cell < self.min_cell:
            raise self.refusal(
                use,
                "min_cell",
                f"is more than the federation's {shared.min_cell}: let all sites sign an epoch with "
                f"min_cell = {self.min_cell}",
            )

    def _check_two(self, use: Use) -> None:
        if use.disclose == "noised":
            return  # whoever subtracts its own rows and noise is left with the other's, and enough noise
        if use.disclose != "aggregate" and not use.full:
            raise PolicyError(
                f"{use.analysis}: disclose={use.disclose!r} computes on shares, which hide nothing between "
                "two sites: invite a third one, use disclose='aggregate', or let both sign an epoch with "
                'security = "dishonest-majority" in [policy] of federation.toml'
            )
        if not self.allow_two_site_sums:
            what = "a sum over two sites" if use.disclose == "aggregate" else "a result of two sites"
            raise PolicyError(
                f"{use.analysis}: {what} tells each the other's part of it; invite a third site, or let both "
                "stewards set allow_two_site_sums = true in [policy] of their site.toml"
            )

    def _enough_sites(self, use: Use) -> bool:
        return super()._enough_sites(use) or (use.sites == 2 and self._allows_two(use))

    def _needed(self, use: Use) -> int:
        return 2 if use.sites == 2 and self._allows_two(use) else super()._needed(use)

    def _allows_two(self, use: Use) -> bool:
        return self.allow_two_site_sums or use.disclose == "noised"


def _kind(rule: Field[Any]) -> type:
    return dict if rule.default is MISSING else type(rule.default)


def _unfit(rule: str, value: object, kind: type) -> str:
    """Return why a value does not fit a rule of a kind, or "" if it does."""
    if kind is dict:
        fits = isinstance(value, Mapping) and all(
            type(its) in (int, float) and 0 < its < math.inf for its in value.values()
        )
    elif kind is tuple:
        fits = isinstance(value, list | tuple) and all(isinstance(its, str) and its for its in value)
    else:
        fits = type(value) is kind or (kind is float and type(value) is int)
    if not fits:
        return f"must be {_WORDS[kind]}"
    for of, words in (("approval", MODES), ("security", SECURITIES)):
        if rule == of and value not in words:
            return f"must be one of {', '.join(map(repr, words))}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        least, most = _RANGES[rule]
        if not least <= value <= most:
            return f"must be between {least} and {most}"
    return ""


def _matches(patterns: Sequence[str], names: Iterable[str]) -> list[str]:
    """Return which names match one of the patterns, sorted."""
    return sorted(filter(_matcher(tuple(patterns)), names)) if patterns else []


@lru_cache
def _matcher(patterns: tuple[str, ...]) -> Callable[[str], re.Match[str] | None]:
    """Return what matches names that one of the patterns does; made once, as every analysis asks for it."""
    return re.compile("|".join(map(translate, patterns))).match


def _names(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))


def as_toml(value: object) -> str:
    """Return a rule's value as it stands in a file."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {its:g}" for key, its in value.items()) + "}"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    if isinstance(value, str):
        return f'"{value}"'
    return str(value).lower() if isinstance(value, bool) else str(value)
