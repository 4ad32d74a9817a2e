"""Genotype files, split over sites, and the regression that a linear scan must equal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import fedstats as fs
from fedstats.gwas.plink import write_bed

BASES = np.array(["A", "C", "G", "T"])


@dataclass(frozen=True)
class Panel:
    """All sites' genotypes and rows in one place, as no site ever sees them."""

    genotypes: NDArray[np.int8]
    variants: pd.DataFrame
    rows: pd.DataFrame

    def deal(
        self, folder: Path, sizes: Sequence[int], *, alike: bool = False
    ) -> list[tuple[pd.DataFrame, Path]]:
        """Write a file for each site: other order and alleles at every site, unless `alike`."""
        parts = []
        for site, samples in enumerate(np.split(np.arange(len(self.rows)), np.cumsum(sizes))):
            random = np.random.default_rng(site)
            variants, calls = self.variants, self.genotypes[:, samples]
            if not alike:
                order = random.permutation(len(variants))
                swap = random.random(len(variants)) < 0.3
                variants, calls = swapped(variants.iloc[order].reset_index(drop=True), calls[order], swap)
            path = folder / f"site{site}.bed"
            rows = self.rows.iloc[samples]
            samples = rows[["iid", "sex"]] if "sex" in rows else rows[["iid"]]
            write_bed(path.with_suffix(""), calls, variants, samples)
            parts.append((rows.sample(frac=1.0, random_state=site), path))
        return parts


def swapped(
    variants: pd.DataFrame, calls: NDArray[np.int8], swap: NDArray[np.bool_]
) -> tuple[pd.DataFrame, NDArray[np.int8]]:
    """Exchange allele 1 and allele 2 of some variants."""
    variants = variants.copy()
    variants.loc[swap, ["allele1", "allele2"]] = variants.loc[swap, ["allele2", "allele1"]].to_numpy()
    return variants, np.where(swap[:, np.newaxis] & (calls >= 0), 2 - calls, calls).astype(np.int8)


def make_panel(samples: int, variants: int, *, missing: float = 0.02, seed: int = 0) -> Panel:
    """Make a panel with rare variants, some of them absent, a trait, covariates and gaps in them."""
    random = np.random.default_rng(seed)
    frequency = random.choice([0.0, 0.005, 0.02, 0.1, 0.3, 0.5], variants)
    calls = random.binomial(2, frequency[:, np.newaxis], (variants, samples)).astype(np.int8)
    calls[random.random(calls.shape) < missing] = -1
    alleles = np.array([random.choice(4, 2, replace=False) for _ in range(variants)])
    age = random.normal(55, 9, samples)
    dose = np.where(calls < 0, 0, calls)
    rows = pd.DataFrame(
        {
            "iid": [f"{number:05d}" for number in range(samples)],
            "age": np.where(random.random(samples) < 0.03, np.nan, age),
            "arm": random.choice(["x", "y", "z"], samples),
            "ldl": 120 + 0.3 * age + 4 * dose[-1] + random.normal(0, 20, samples),
        }
    )
    return Panel(
        calls,
        pd.DataFrame(
            {
                "chromosome": np.sort(random.choice(["1", "2", "X"], variants)),
                "rsid": [f"rs{number}" for number in range(variants)],
                "base_pair_location": 1_000 + 50 * np.arange(variants),
                "allele1": BASES[alleles[:, 0]],
                "allele2": BASES[alleles[:, 1]],
            }
        ),
        rows,
    )


def everywhere(
    parts: Sequence[tuple[pd.DataFrame, Path]],
    analysis: Callable[..., Any],
    *,
    checkpoints: Path | None = None,
    **options: Any,
) -> Any:
    """Run an analysis of genotypes and cohort at every site, and return its results.

    With a folder, each site keeps a checkpoint in it under its name.
    """

    def program(federation: fs.Federation, data: tuple[pd.DataFrame, Path]) -> Any:
        rows, path = data
        own = {} if checkpoints is None else {"checkpoint": checkpoints / federation.site}
        return analysis(federation.genotypes(path), federation.cohort(rows, id="iid"), **options, **own)

    return fs.simulate(program, parts)


def scan(
    parts: Sequence[tuple[pd.DataFrame, Path]], analysis: Callable[..., Any] = fs.gwas.linear, **options: Any
) -> Any:
    """Scan at every site, check that all hold the same bits, and return the result; sums are opened."""
    if analysis in (fs.gwas.linear, fs.gwas.logistic, fs.gwas.qc):
        options = {"disclose": "aggregate", **options}
    first, *others = everywhere(parts, analysis, **options)
    for other in others:
        for its, of_first in zip(results(other), results(first), strict=True):
            pd.testing.assert_frame_equal(its.to_frame(), of_first.to_frame(), check_exact=True)
    return first


def results(found: Any) -> list[Any]:
    """Return the results of a scan of one trait or of several."""
    return list(found.values()) if isinstance(found, dict) else [found]


def least_squares(
    panel: Panel,
    trait: str,
    design: NDArray[np.float64],
    missing: str = "exact",
    site: NDArray[np.int64] | None = None,
    *,
    intercepts: bool = True,
) -> pd.DataFrame:
    """Return beta, standard error and n of each variant's allele 1, by rsid, on the pooled complete rows.

    Each variant has a regression of its own, with the whole design, by Householder QR. With `site`, the rows'
    sites, each site's own mean is imputed, which is the same as any number where the site has no call; and
    the design has an indicator of each unless `intercepts` is False. Without an estimate, `n` of imputed
    calls is 0.
    """
    complete = ~np.isnan(np.column_stack([panel.rows[trait], design])).any(axis=1)
    y, design = panel.rows[trait].to_numpy()[complete], design[complete]
    site = np.zeros(len(y), np.int64) if site is None else site[complete]
    calls = np.where(panel.genotypes < 0, np.nan, panel.genotypes)[:, complete]
    estimates = []
    for g in calls:
        keep = ~np.isnan(g)
        if missing == "impute":
            sums, known = np.bincount(site, np.nan_to_num(g)), np.bincount(site, keep)
            with np.errstate(invalid="ignore"):
                g = np.nan_to_num(np.where(keep, g, (sums / known)[site]))
            keep[:] = known.any()
        groups = site[keep, np.newaxis] == np.unique(site[keep])
        if not intercepts:
            groups = np.ones((keep.sum(), 1))
        x = np.column_stack([design[keep][:, 1:], groups, g[keep]])
        # Covariates that are combinations of others take no part; the genotype, last, must be none.
        _, r = np.linalg.qr(x)
        x = x[:, (np.abs(np.diag(r)) > 1e-8 * np.linalg.norm(x, axis=0)) if len(r) == x.shape[1] else []]
        df = len(x) - x.shape[1]
        if df < 1 or np.ptp(g[keep]) == 0 or (g[keep] != x[:, -1:].T).any():
            estimates.append((np.nan, np.nan, keep.sum() if missing == "exact" else 0))
            continue
        q, r = np.linalg.qr(x)
        on_q = q.T @ y[keep]
        rest = y[keep] - q @ on_q
        error = np.sqrt(rest @ rest / df) / abs(r[-1, -1])
        estimates.append((on_q[-1] / r[-1, -1], error, keep.sum()))
    return pd.DataFrame(estimates, index=panel.variants["rsid"], columns=["beta", "standard_error", "n"])


def assert_equal_scan(
    found: pd.DataFrame, panel: Panel, expected: pd.DataFrame, rtol: float = 1e-9, of_error: float = 1e-3
) -> None:
    """Compare a scan with `least_squares`, whichever allele it counts.

    A beta near zero may differ by `rtol` times this part of the smallest standard error.
    """
    known = panel.variants.set_index("rsid").loc[found["rsid"]]
    sign = np.where(found["effect_allele"].to_numpy() == known["allele1"].to_numpy(), 1.0, -1.0)
    expected = expected.loc[found["rsid"]]
    np.testing.assert_allclose(found["standard_error"], expected["standard_error"], rtol=rtol)
    np.testing.assert_allclose(
        sign * found["beta"],
        expected["beta"],
        rtol=rtol,
        atol=rtol * of_error * float(expected["standard_error"].min()),
    )
