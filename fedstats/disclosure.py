"""What an analysis may reveal, declared before it runs, and what it did reveal.

Every analysis has one `Declaration`, beside its function. The gate (`fedstats.analysis`) refuses
a label that is not declared, so the recorded leakage of a result is a subset of the declared one
by construction, and the tests hold the two equal.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal, TypeAlias

from fedstats.errors import DisclosureError

#: ``"aggregate"``: pooled sufficient statistics are opened to every site. ``"result"``: they stay shared
#: among the sites, which open what they compute of them. ``"gated"``: of these results, only those that pass
#: a test that is made on shares. ``"noised"``: pooled sums are opened, or the largest of them chosen, with
#: noise that makes that differentially private, see `fedstats.privacy`.
Disclose: TypeAlias = Literal["result", "aggregate"]
DiscloseGated: TypeAlias = Literal["result", "aggregate", "gated"]


_known: set[str] = set()


def known() -> frozenset[str]:
    """Return the names of all analyses that open anything, as far as their modules are imported."""
    return frozenset(_known)


@dataclass(frozen=True)
class Declaration:
    """What one analysis reveals.

    Attributes
    ----------
    name
        Name of the analysis, as in ``"gwas.linear"``.
    aggregate, result, gated, noised
        For each disclosure mode, label → meaning of everything that it opens to every site. An analysis
        offers the modes whose mapping is not empty.
    published
        Label → meaning of what each site tells every other site of itself: metadata, no rows and
        no statistics.
    """

    name: str
    aggregate: Mapping[str, str] = field(default_factory=dict)
    result: Mapping[str, str] = field(default_factory=dict)
    gated: Mapping[str, str] = field(default_factory=dict)
    noised: Mapping[str, str] = field(default_factory=dict)
    published: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.aggregate or self.result or self.gated or self.noised:
            _known.add(self.name)

    def opened(self, disclose: str) -> Mapping[str, str]:
        """Return what a disclosure mode opens.

        Raises
        ------
        DisclosureError
            The analysis does not offer that mode.
        """
        modes = {
            "result": self.result,
            "aggregate": self.aggregate,
            "gated": self.gated,
            "noised": self.noised,
        }
        offered = [mode for mode, labels in modes.items() if labels]
        if disclose not in offered:
            known = ", ".join(map(repr, offered))
            raise DisclosureError(f"{self.name} knows no disclosure mode {disclose!r}; it offers {known}")
        return modes[disclose]


@dataclass(frozen=True)
class Reveal:
    """One quantity that left its site.

    Attributes
    ----------
    label
        Its declared label.
    kind
        ``"pooled"``: a sum over all sites, opened to all. ``"result"``: computed on shares of such sums, and
        opened to all. ``"noised"``: a sum over all sites with noise, or a choice by such sums that are not
        opened. ``"published"``: each site's own.
    size
        How many numbers; for what is published, how many bytes this site sent.
    meaning
        The declaration's text.
    rho
        What it cost of each site's privacy budget; 0 of what has no noise, to which no budget applies.
    """

    label: str
    kind: Literal["pooled", "result", "noised", "published"]
    size: int
    meaning: str
    rho: Fraction = Fraction(0)

    def to_dict(self) -> dict[str, str | int]:
        """Return it as JSON has it; ρ as a text, where there is one."""
        facts: dict[str, str | int] = {
            "label": self.label,
            "kind": self.kind,
            "size": self.size,
            "meaning": self.meaning,
        }
        return facts | {"rho": str(self.rho)} if self.rho else facts


class Leakage(tuple[Reveal, ...]):
    """What one analysis, or a whole session, revealed to every site; a tuple of `Reveal`."""

    __slots__ = ()

    @classmethod
    def collect(cls, reveals: Iterable[Reveal]) -> Leakage:
        """Add up reveals of the same label, in the order of their first appearance."""
        collected: dict[tuple[str, str], Reveal] = {}
        for reveal in reveals:
            key = (reveal.label, reveal.meaning)
            size, rho = reveal.size, reveal.rho
            if key in collected:
                size, rho = size + collected[key].size, rho + collected[key].rho
            collected[key] = Reveal(reveal.label, reveal.kind, size, reveal.meaning, rho)
        return cls(collected.values())

    @property
    def labels(self) -> frozenset[str]:
        """The labels alone."""
        return frozenset(reveal.label for reveal in self)

    @property
    def rho(self) -> Fraction:
        """The privacy loss of what was opened with noise, in ρ of zero-concentrated differential privacy."""
        return sum((reveal.rho for reveal in self), Fraction(0))

    def __str__(self) -> str:
        lines: list[str] = []
        for kind, heading in _HEADINGS.items():
            reveals = [reveal for reveal in self if reveal.kind == kind]
            if reveals:
                lines += [heading, *(line for reveal in reveals for line in _described(reveal))]
        return "\n".join(lines)


_HEADINGS = {
    "published": "Told by each site of itself (bytes):",
    "pooled": "Opened to every site, as sums over all sites (numbers):",
    "result": "Opened to every site, as computed on shares (numbers):",
    "noised": "Opened to every site, with noise (numbers):",
}


def _described(reveal: Reveal) -> list[str]:
    """Return the lines that describe one quantity: label, size, meaning."""
    head = f"  {reveal.label:<20} {reveal.size:>10,}  "
    meaning = f"{reveal.meaning} (ρ = {float(reveal.rho):.4g})" if reveal.rho else reveal.meaning
    return textwrap.wrap(meaning, 100, initial_indent=head, subsequent_indent=" " * len(head))
