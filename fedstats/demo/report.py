"""What the demonstration prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich import box
from rich.console import Console
from rich.filesize import decimal
from rich.rule import Rule
from rich.table import Table

from fedstats.demo.figures import Figures
from transport.manifest import Manifest

_TITLES = {"session": "fed.cohort", "describe": "fs.describe", "ols": "fs.ols", "gwas": "fs.gwas.linear"}

_KINDS = {"result": "result", "pooled": "pooled", "published": "told"}


class Report:
    """Prints the demonstration's course on a console, and plain text where that is no terminal."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def heading(self, text: str) -> None:
        """Begin a section."""
        self.console.print()
        self.console.print(Rule(f"[bold]{text}[/]", align="left", style="cyan"))

    @contextmanager
    def busy(self, text: str) -> Iterator[None]:
        """Show that something takes time."""
        with self.console.status(text, spinner="dots"):
            yield

    def sites(self, manifest: Manifest, rows: Mapping[str, Mapping[str, int]]) -> None:
        """Show who takes part, and with what."""
        self.heading("Three sites that may not pool their rows")
        counts = list(next(iter(rows.values())))
        table = _table("site", "endpoint", "fingerprint", right=counts)
        for card in manifest.peers:
            words = " ".join(card.words.split()[:3])
            table.add_row(
                f"[bold]{card.name}[/]",
                card.endpoint,
                f"{words} …",
                *(f"{rows[card.name][count]:,}" for count in counts),
            )
        self.console.print(table)
        self.console.print(
            "Each has its own folder, keys and rows. They have signed one federation.toml,\n"
            "and speak mutual TLS 1.3 with pinned certificates; nobody is in the middle.\n"
            "Each now runs, in a process of its own:"
        )
        self.console.print("\n  $ fedstats run analysis.py --site site.toml", style="bold green")

    def output(self, site: str, text: str) -> None:
        """Show what one site's process printed."""
        self.heading(f"What every site sees (this is {site})")
        self.console.print(text.rstrip(), markup=False, highlight=False, soft_wrap=True)

    def comparison(self, figures: Figures) -> None:
        """Show figures: agreement with the pooled analysis, and what it took."""
        self.heading("The same as if the rows had been pooled")
        table = _table(
            "analysis", right=["numbers", "greatest rel. difference", "rounds", "sent by all", "seconds"]
        )
        for name, comparison in figures.comparisons.items():
            cost = figures.first.cost[name]
            table.add_row(
                _TITLES[name],
                f"{comparison.numbers:,}",
                f"[bold green]{comparison.max_relative_error:.1e}[/]",
                f"{cost.rounds}",
                decimal(sum(site.cost[name].bytes_sent for site in figures.results.values())),
                f"{cost.seconds:.2f}",
            )
        self.console.print(table)
        same = "bit for bit the same results" if figures.identical else "[bold red]DIFFERENT RESULTS[/]"
        self.console.print(
            "Reference: pandas, statsmodels and least squares on all rows in one table.\n"
            f"−log10 p agrees within {figures.max_neg_log10_p_error:.1e}. All sites hold {same}.\n"
            f"Three processes, from their start to the end of the last: {figures.seconds:.1f} s.",
            highlight=False,
        )

    def leakage(self, figures: Figures) -> None:
        """Show what every site has learnt, from the results' own account."""
        self.heading("Who learnt what")
        table = _table("analysis", "kind", "what every site learns", right=["amount"])
        told = figures.first.leakage
        analysed = {reveal.label for name in figures.comparisons for reveal in told[name]}
        for name, leakage in told.items():
            title = _TITLES[name]
            for reveal in leakage:
                if name == "session" and reveal.label in analysed:
                    continue
                unit = "bytes" if reveal.kind == "published" else "numbers"
                meaning = f"[bold]{reveal.label}[/]: {reveal.meaning}"
                table.add_row(title, _KINDS[reveal.kind], meaning, f"{reveal.size:,} {unit}")
                title = ""
            table.add_section()
        self.console.print(table)
        self.console.print(
            "Results were computed on secret shares of the sites' sums, and only they were opened.\n"
            "Pooled numbers are sums over all sites, opened by secure summation: no site sees another's\n"
            "part, but two that put together what they know can subtract their own parts, and so learn\n"
            "the third's. What is told is metadata of each site's own."
        )

    def files(self, output: Path, names: Mapping[str, str]) -> None:
        """Show where to look next."""
        self.heading(f"Written to {output}")
        width = max(map(len, names))
        for name, what in names.items():
            self.console.print(f"  [bold]{name:{width}}[/]  {what}", highlight=False, soft_wrap=True)


def _table(*left: str, right: list[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in left:
        table.add_column(column)
    for column in right:
        table.add_column(column, justify="right")
    return table
