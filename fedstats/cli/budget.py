"""`fedstats budget`: what releases with noise have taken of this site's privacy budgets."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from fedstats.audit import Audit
from fedstats.cli._output import console
from fedstats.cli.keys import SiteFile
from fedstats.errors import DataError
from fedstats.ledger import Ledger
from fedstats.site import Site
from transport.sitekeys import SiteKeys

app = typer.Typer(no_args_is_help=True, help="Show and copy what was spent of the privacy budgets.")


@app.command()
def show(site: SiteFile = Path("site.toml")) -> None:
    """Show, for each data set, its budget and what is left, once ledger and audit log have been compared."""
    ledger = _checked(Site.load(site))
    table = Table(box=None, pad_edge=False)
    for column in ("data", "budget (rho)", "spent", "left", "releases"):
        table.add_column(column, justify="left" if column == "data" else "right")
    made = ledger.reservations()
    for data in sorted({*ledger.limits, *(its.data for its in made)}):
        limit, left = ledger.limits.get(data), ledger.left(data)
        table.add_row(
            data,
            "no limit" if limit is None else f"{float(limit):.6g}",
            f"{float(ledger.spent(data)):.6g}",
            "" if left is None else f"{float(left):.6g}",
            str(sum(its.data == data and its.state != "returned" for its in made)),
        )
    console.print(table, highlight=False, markup=False)


@app.command()
def export(
    output: Annotated[Path, typer.Argument(help="The CSV file to write.")],
    site: SiteFile = Path("site.toml"),
) -> None:
    """Write every reservation as a line of CSV, rho as an exact fraction, once they have been checked."""
    made = _checked(Site.load(site)).reservations()
    try:
        with output.open("x", encoding="utf-8", newline="") as file:
            lines = csv.writer(file)
            lines.writerow(["number", "time", "data", "analysis", "rho", "state", "digest"])
            for its in made:
                lines.writerow([its.number, its.time, its.data, its.analysis, its.rho, its.state, its.digest])
    except FileExistsError:
        raise DataError(f"{output} exists, and nothing is overwritten: choose another file") from None
    console.print(f"Wrote {len(made)} reservations to {output}.", soft_wrap=True)


def _checked(config: Site) -> Ledger:
    ledger = Ledger(config.ledger, config.budget)
    ledger.check(Audit(config.audit, SiteKeys.load(config.keys).identity).entries())
    return ledger
