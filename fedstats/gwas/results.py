"""What a genome-wide association scan returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from fedstats import _table
from fedstats.gwas import plots
from fedstats.gwas._inflation import lambda_gc
from fedstats.gwas.plots import GENOME_WIDE
from fedstats.gwas.reconcile import Reconciled
from fedstats.gwas.regional import regional
from fedstats.gwas.ssf import write_ssf
from fedstats.results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Variants that a summary lists.
_TOP = 10


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class GWASResult(Result):
    """Association of one trait with every variant; the same at every site.

    Attributes
    ----------
    trait
        What was analysed.
    nobs, n_missing
        Samples of all sites that were used; rows of all sites' cohorts that were left out, for want
        of genotypes, of the trait or of a covariate.
    n_cases
        Cases among the samples; None of a quantitative trait.
    df_resid
        Residual degrees of freedom of each variant's regression, if nobody lacks a call.
    reconciled
        How the sites' variant lists were matched: which variants were swapped, flipped or dropped,
        and why.
    """

    trait: str
    nobs: int
    n_cases: int | None = None
    n_missing: int
    df_resid: int
    frame: pd.DataFrame = field(repr=False)
    reconciled: Reconciled = field(repr=False)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a variant in the order of the genome.

        Columns follow GWAS-SSF [1]_: `chromosome`, `base_pair_location`, `effect_allele`, `other_allele`,
        `beta` and `standard_error` (of one copy of the effect allele, in the trait's unit),
        `effect_allele_frequency` (among calls), `p_value` (two-sided; 0 where it underflows), then `rsid`,
        `n`, `neg_log10_p` (exact however small), `t` (or `z` and `test`, see `logistic`), `missing_rate` and
        `ambiguous` (an A/T or C/G variant).
        Estimates are NaN where a variant does not vary beyond the covariates.

        References
        ----------
        .. [1] A. Hayhurst et al., "A community driven GWAS summary statistics standard", bioRxiv, 2022.
        """
        return self.frame.copy()

    def to_ssf(
        self, path: str | PathLike[str], *, genome_assembly: str, ancestry: str, description: str = ""
    ) -> tuple[Path, Path]:
        """Write the estimates as GWAS-SSF, as the GWAS Catalog takes them: a table, and its metadata.

        Parameters
        ----------
        path
            The table, ``NAME.tsv.gz``: compressed in blocks, to be indexed by
            ``tabix -S 1 -s 1 -b 2 -e 2``. Chromosomes X, Y and MT become 23, 24 and 25 there.
        genome_assembly
            Such as ``"GRCh38"``.
        ancestry
            Of the samples, in words.
        description
            Of the trait; its name by default.

        Returns
        -------
        table, metadata : Path
            ``NAME.tsv.gz`` and ``NAME.tsv.gz-meta.yaml``.
        """
        return write_ssf(
            self, path, genome_assembly=genome_assembly, ancestry=ancestry, description=description
        )

    @property
    def lambda_gc(self) -> float:
        """Genomic control factor: median χ² of the variants over that under the null hypothesis."""
        return lambda_gc(self.frame["neg_log10_p"].to_numpy())

    def top(self, n: int = _TOP) -> pd.DataFrame:
        """Return the n variants with the smallest p-values, as rows of `to_frame`."""
        return self.frame.nlargest(n, "neg_log10_p")

    def summary(self) -> str:
        """Return the most significant variants, and what was scanned, as text."""
        tested = self.frame["p_value"].notna()
        facts: list[tuple[str, object]] = [
            ("Samples", f"{self.nobs:,}"),
            *([] if self.n_cases is None else [("Cases", f"{self.n_cases:,}")]),
            ("Left out", f"{self.n_missing:,}"),
            ("Sites", len(self.sites)),
            ("Variants tested", f"{int(tested.sum()):,}"),
            ("Without variation", f"{int((~tested).sum()):,}"),
            ("Dropped", f"{len(self.reconciled.dropped):,}"),
            ("P < 5e-8", int((self.frame["neg_log10_p"] > GENOME_WIDE).sum())),
            ("Genomic control λ", round(self.lambda_gc, 4)),
        ]
        shown = [
            "effect_allele",
            "other_allele",
            "effect_allele_frequency",
            "beta",
            "standard_error",
            "neg_log10_p",
        ]
        top = self.top()
        place = top["chromosome"] + ":" + top["base_pair_location"].astype(str)
        table = (
            top[shown].set_axis(place).set_axis(["effect", "other", "freq", "beta", "se", "-log10 p"], axis=1)
        )
        return "\n".join(
            [
                f"{'Linear' if self.n_cases is None else 'Logistic'} association of {self.trait} with each "
                "variant",
                *_table.pair_lines(facts),
                "",
                *_table.frame_lines(table, digits=4),
                "",
                f"Cost: {self.cost}",
            ]
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the Manhattan plot; needs matplotlib."""
        return plots.manhattan(self.frame, ax=ax)

    def plot_qq(self, ax: Axes | None = None) -> Axes:
        """Draw observed against expected p-values; needs matplotlib."""
        return plots.qq(self.frame, ax=ax)

    def plot_region(
        self,
        variant: str | None = None,
        *,
        window: int = 500_000,
        r2: pd.Series[float] | None = None,
        ax: Axes | None = None,
    ) -> Axes:
        """Draw the variants near one, by default the foremost, see `regional`; needs matplotlib."""
        return regional(self.frame, variant, window=window, r2=r2, ax=ax)
