"""The course of the demonstration, from empty folders to figures."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console

from fedstats.demo import data, reference, stage
from fedstats.demo.figures import Figures, SiteResults, compare
from fedstats.demo.report import Report
from fedstats.errors import DataError

#: Marks a folder of sites that a demonstration made and the next one may replace.
_MARKER = "made-by-fedstats-demo"
_FORMULA = "progression ~ age + C(sex) + C(weight) + bp + ldl + log_triglycerides"


def play(output: Path, *, samples: int, variants: int, json: Path | None = None) -> Figures:
    """Run the demonstration: enrol three sites, run the script, compare, report.

    Parameters
    ----------
    output
        Folder for the sites, the results and the plots.
    samples, variants
        Size of the genome-wide scan.
    json
        Where to write the figures for machines.

    Raises
    ------
    DataError
        `output` holds sites that no demonstration made.
    SiteFailed
        A site's process failed; the message is what it printed.
    """
    report = Report(_console())
    folders = _make_folders(output / "sites")
    with report.busy("simulating genotypes"):
        data.write_clinical(folders)
        data.write_genotypes(folders, samples=samples, variants=variants)
    manifest = stage.enrol(folders)
    for folder in folders.values():
        stage.register(folder, data.REGISTERED)
    report.sites(manifest, {site: data.count_rows(folder) for site, folder in folders.items()})

    script = output / "analysis.py"
    shutil.copyfile(Path(__file__).with_name("analysis.py"), script)
    begun = time.perf_counter()
    with report.busy("three sites at work"):
        printed = stage.run_everywhere(script, folders)
    seconds = time.perf_counter() - begun

    with report.busy("comparing with the pooled rows"):
        figures = _compare(folders, seconds)
    first = next(iter(folders))
    report.output(first, printed[first].stdout)
    report.comparison(figures)
    report.leakage(figures)
    with report.busy("drawing"):
        _write(output, folders[first], figures.first.tables["gwas"])
    if json is not None:
        figures.save(json)
    report.files(
        output,
        {
            "analysis.py": "the script that every site ran",
            "results/": "its tables, and the account of what they revealed",
            "manhattan.png, qq.png": "the scan",
            "sites/": "each site's folder: keys, site.toml, federation.toml, rows",
        },
    )
    return figures


def _console() -> Console:
    """Return the terminal, or a page of a decent width where the output goes to a file."""
    console = Console()
    return console if console.is_terminal else Console(width=100)


def _make_folders(parent: Path) -> dict[str, Path]:
    """Return an empty folder for each site; those of an earlier demonstration are replaced."""
    if parent.exists():
        if not (parent / _MARKER).exists():
            raise DataError(f"{parent} exists, and no demonstration made it: choose another --output")
        shutil.rmtree(parent)
    folders = {site: parent / site for site in data.SHARES}
    for folder in folders.values():
        folder.mkdir(parents=True)
    (parent / _MARKER).touch()
    return folders


def _compare(folders: dict[str, Path], seconds: float) -> Figures:
    """Make the pooled analyses, and hold every site's results against them."""
    results = {site: SiteResults.read(folder / "results") for site, folder in folders.items()}
    first = next(iter(results.values()))
    patients = data.pooled_patients(folders)
    scan = first.tables["gwas"]
    genotypes, volunteers = data.pooled_volunteers(folders, scan)
    covariates = volunteers[["age", "pc1", "pc2"]].assign(male=volunteers["sex"] == "male")
    pooled = reference.linear_gwas(
        genotypes, volunteers["ldl"].to_numpy(np.float64), covariates.to_numpy(np.float64)
    ).set_axis(scan.index)
    log_p = pooled.pop("neg_log10_p")
    return Figures(
        seconds=seconds,
        comparisons={
            "describe": compare(first.tables["describe"], reference.describe(patients, "sex")),
            "ols": compare(first.tables["ols"], reference.ols(patients, _FORMULA)),
            "gwas": compare(scan, pooled),
        },
        max_neg_log10_p_error=float(np.nanmax(np.abs(scan["neg_log10_p"] - log_p))),
        identical=all(site.files == first.files for site in results.values()),
        results=results,
    )


def _write(output: Path, folder: Path, scan: pd.DataFrame) -> None:
    """Copy the results of one site, which are everybody's, and draw the scan."""
    from matplotlib.figure import Figure

    from fedstats.gwas import plots

    shutil.copytree(folder / "results", output / "results", dirs_exist_ok=True)
    for name, draw, size in (("manhattan", plots.manhattan, (11, 4)), ("qq", plots.qq, (5, 5))):
        figure = Figure(figsize=size, layout="constrained")
        draw(scan, ax=figure.add_subplot())
        figure.savefig(output / f"{name}.png", dpi=150)
