"""Polygenic scores: Σ over variants of weight × copies of the effect allele, of every sample at its own site.

All sites use the same variants: those of the weights that every site's file has, with the same alleles in
either order or on the other strand. Scores stay where the samples are. What leaves are their mean and
standard deviation over all sites, and whatever analysis they are put into afterwards.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats import _table
from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import DataError
from fedstats.gwas import _strands, _variants
from fedstats.gwas._ahead import blocks
from fedstats.gwas._strands import settle_strands
from fedstats.gwas._variants import Ambiguous
from fedstats.gwas.genotypes import Genotypes
from fedstats.gwas.reconcile import Reconciled, reconcile
from fedstats.gwas.varianttable import VariantTable
from fedstats.results import Result

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort
    from fedstats.evaluation import ROCResult

Floats: TypeAlias = NDArray[np.float64]
MissingCalls: TypeAlias = Literal["mean", "zero"]

#: Of Y, only men have calls: as part of a score it would compare men with women.
_NOT_SCORED: Final = "Y"
#: Whose lists are matched; the first says which allele is counted.
_WEIGHTS, _SITES = "1 weights", "2 sites"
#: Column of the scores in the cohort that `ScoreResult.r2` makes.
_COLUMN: Final = "polygenic_score"

_OPENED: Final = {
    **_strands.OPENED,
    "samples": "number of samples",
    "mean": "mean of the scores of all samples",
    "variance": "variance of the scores of all samples",
}
DECLARATION = Declaration("gwas.score", aggregate=_OPENED, result=_OPENED, published=_variants.PUBLISHED)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class ScoreResult(Result):
    """Polygenic scores; the same at every site, but for `scores`.

    Attributes
    ----------
    nobs
        Samples of all sites.
    mean, std
        Of the scores of all samples; NaN of fewer samples than `min_cell`.
    scores
        This site's samples, which no other site has seen: `id`, `score`, `z` (of mean 0 and standard
        deviation 1 over all sites) and `call_rate`, the part of the variants that has a call.
    dropped
        Weights that were not used: `chromosome`, `base_pair_location`, `effect_allele`, `other_allele` and
        `reason`.
    """

    nobs: int
    mean: float
    std: float
    frame: pd.DataFrame = field(repr=False)
    scores: pd.DataFrame = field(repr=False)
    dropped: pd.DataFrame = field(repr=False)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a variant that was used.

        Columns: `chromosome`, `base_pair_location`, `effect_allele`, `other_allele`, `rsid` and `weight`.
        """
        return self.frame.copy()

    def of(self, cohort: Cohort) -> pd.Series[float]:
        """Return the standardised score of each of this site's rows of a cohort; NaN if it has none."""
        if cohort.ids is None:
            raise DataError(
                "the cohort has no id by which scores could be matched: fed.cohort(..., id='column')"
            )
        by_id = pd.Series(self.scores["z"].to_numpy(), index=self.scores["id"])
        return pd.Series(by_id.reindex(cohort.ids).to_numpy())

    def auc(self, cohort: Cohort, outcome: str) -> ROCResult:
        """Return how well the score tells cases from others, over all sites; see `fedstats.roc`.

        Parameters
        ----------
        cohort
            Rows with the ids of `scores`; rows without a score are left out.
        outcome
            Column of 0 and 1.
        """
        from fedstats.evaluation import roc

        return roc(cohort, score=self.of(cohort), outcome=outcome)

    def r2(
        self,
        cohort: Cohort,
        trait: str,
        covariates: Sequence[str] = (),
        *,
        disclose: Disclose = "result",
    ) -> pd.Series[float]:
        """Return how much of a quantitative trait the score explains over all sites, by least squares.

        Parameters
        ----------
        cohort
            Rows with the ids of `scores`; rows without a score are left out.
        trait, covariates
            As in `linear`.
        disclose
            See `fedstats.ols`, which is called twice.

        Returns
        -------
        Series
            `all`: R² with the score and the covariates; `covariates`: with these alone; `score`: what the
            score adds.
        """
        from fedstats.regression import ols

        rows = cohort.rows.assign(**{_COLUMN: self.of(cohort), f"{_COLUMN}_id": cohort.ids})
        rows = rows[rows[_COLUMN].notna()]
        scored = cohort.federation.cohort(rows, id=f"{_COLUMN}_id", levels=cohort.declared_levels)
        terms = " + ".join(["1", *covariates])
        both = ols(f"{trait} ~ {terms} + {_COLUMN}", scored, disclose=disclose).rsquared
        without = ols(f"{trait} ~ {terms}", scored, disclose=disclose).rsquared if covariates else 0.0
        return pd.Series({"all": both, "covariates": without, "score": both - without}, name="r2")

    def summary(self) -> str:
        """Return what was scored, as text; of this site's samples, nothing."""
        facts: list[tuple[str, object]] = [
            ("Samples", f"{self.nobs:,}"),
            ("Sites", len(self.sites)),
            ("Variants used", f"{len(self.frame):,}"),
            *(
                (f"Not used: {why}", f"{count:,}")
                for why, count in self.dropped["reason"].value_counts().items()
            ),
            ("Mean", self.mean),
            ("Standard deviation", self.std),
        ]
        return "\n".join(["Polygenic score", *_table.pair_lines(facts), "", f"Cost: {self.cost}"])


def score(
    genotypes: Genotypes,
    cohort: Cohort,
    weights: pd.DataFrame,
    *,
    weight: str = "beta",
    missing: MissingCalls = "mean",
    ambiguous: Ambiguous = "keep",
    disclose: Disclose = "result",
) -> ScoreResult:
    """Score this site's samples by given weights, on the variants that all sites have.

    Parameters
    ----------
    genotypes
        See `Federation.genotypes`.
    cohort
        Its rows with genotypes are scored; needs an ``id``.
    weights
        The same at every site: columns `chromosome`, `base_pair_location`, `effect_allele`, `other_allele`
        (may be missing where the sites know the other allele), that of the weights, and perhaps
        `effect_allele_frequency`. Rows of `GWASResult.to_frame`, for one.
    weight
        The column of weights, per copy of the effect allele. Rows without one are left out.
    missing
        ``"mean"``: a missing call counts as twice the frequency that `weights` gives, or else that of the
        site's own calls; ``"zero"``: as no copy.
    ambiguous
        Whether A/T and C/G variants are kept, see `linear`.
    disclose
        Both modes open the same.

    Returns
    -------
    ScoreResult

    Raises
    ------
    DataError
        The weights, the genotype files or the ids cannot be used, or no variant of the weights is at all
        sites.
    RemoteError
        The same at another site.

    Notes
    -----
    Sex chromosomes are read as in `linear`: on X a man has no or two copies, the one copy of MT counts as
    one. Y is left out, as women have none.

    **Leakage.** Every site learns mean and variance of the scores over all sites, none of fewer samples than
    `min_cell`, and each site's list of variants. A coalition of t sites learns mean and variance of the
    other n − t.

    **Cost.** Eight rounds, one more if the variant lists differ.

    Examples
    --------
    >>> prs = fs.gwas.score(geno, cohort, hits.to_frame().query("p_value < 1e-5"))  # doctest: +SKIP
    >>> prs.r2(cohort, "ldl", ["age"])["score"]  # doctest: +SKIP
    """

    def check() -> None:
        if missing not in get_args(MissingCalls):
            raise DataError(f"missing={missing!r}: 'mean' or 'zero'")
        _check_weights(weights, weight)

    with cohort.federation.analysis(DECLARATION, disclose) as run:
        found, shared = _variants.agree_variants(
            run,
            genotypes,
            cohort,
            ambiguous,
            options=f"weights of SHA-256 {_fingerprint(weights, weight)}, missing={missing!r}, "
            f"ambiguous={ambiguous!r}",
            check=check,
        )
        rows = np.flatnonzero(found >= 0)
        members = genotypes.members(found[rows])
        shared = settle_strands(run, genotypes, members, shared, ambiguous)
        used, table, dropped = _matched(shared, weights, weight, run.federation.site)
        if not len(used):
            raise DataError(
                f"none of the {len(weights):,} weights is among the variants that all sites have: compare "
                "genome build, chromosome names and alleles"
            )
        effect = table["weight"].to_numpy() / np.where(table["chromosome"].isin(_variants.HAPLOID), 2.0, 1.0)
        frequency = table["frequency"].to_numpy()

        def local(part: slice) -> tuple[Floats, NDArray[np.int64]]:
            calls = genotypes.block(used, part, members).calls()
            lacking = calls < 0
            if missing == "zero" or not lacking.any():
                mean = np.zeros(len(calls))
            else:
                own = np.ma.masked_array(calls, lacking).mean(axis=1).filled(0.0)
                mean = np.where(np.isnan(frequency[part]), own, 2 * frequency[part])
            w = effect[part]
            return w @ np.where(lacking, 0, calls) + (w * mean) @ lacking, np.count_nonzero(lacking, axis=0)

        total, gaps = np.zeros(len(members)), np.zeros(len(members), np.int64)
        for _, _, (its, absent) in blocks(run, len(used), local):
            total += its
            gaps += absent
        n, mean, variance = _standard(run, total)
        with np.errstate(divide="ignore", invalid="ignore"):
            z = (total - mean) / np.sqrt(variance)
        return ScoreResult(
            **run.finish(),
            nobs=n,
            mean=mean,
            std=float(np.sqrt(variance)),
            frame=table.drop(columns="frequency"),
            scores=pd.DataFrame(
                {
                    "id": None if cohort.ids is None else cohort.ids[rows],
                    "score": total,
                    "z": z,
                    "call_rate": 1 - gaps / len(used),
                }
            ),
            dropped=dropped,
        )


def _check_weights(weights: pd.DataFrame, weight: str) -> None:
    if not isinstance(weights, pd.DataFrame):
        raise DataError("weights is a data frame: rows of a result's table, or of a file of scores")
    absent = [name for name in (*_variants.KEY, weight) if name not in weights]
    if absent:
        raise DataError(f"weights has no column {', '.join(map(repr, absent))}")
    if not pd.api.types.is_numeric_dtype(weights[weight]):
        raise DataError(f"weights: column {weight!r} holds no numbers")
    if np.isinf(weights[weight].to_numpy(np.float64)).any():
        raise DataError(f"weights: column {weight!r} has infinite values")
    if weights[["chromosome", "base_pair_location", "effect_allele"]].isna().any(axis=None):
        raise DataError("weights has rows without chromosome, position or effect allele: leave them out")


def _fingerprint(weights: pd.DataFrame, weight: str) -> str:
    """Return what two sites compare to know that they were given the same weights."""
    if not isinstance(weights, pd.DataFrame):
        return ""
    columns = [*_variants.KEY, weight, "effect_allele_frequency"]
    text = weights[[name for name in columns if name in weights]].to_csv(index=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _matched(
    shared: Reconciled, weights: pd.DataFrame, weight: str, site: str
) -> tuple[Reconciled, pd.DataFrame, pd.DataFrame]:
    """Match weights to the variants of all sites.

    Returns
    -------
    used : Reconciled
        Their variants, in the order of the genome; this site counts the weights' effect allele.
    table : DataFrame
        As of `ScoreResult.to_frame`, and `frequency`.
    dropped : DataFrame
        As of `ScoreResult.dropped`.
    """
    weights = weights.reset_index(drop=True).assign(
        chromosome=weights["chromosome"].astype(str).to_numpy(),
        other_allele=weights["other_allele"].fillna("0").to_numpy(),
    )
    both = reconcile(
        {_WEIGHTS: VariantTable.from_result(weights), _SITES: VariantTable.from_result(shared.variants)}
    )
    row, at = both.index[_WEIGHTS], both.index[_SITES]
    effect = weights[weight].to_numpy(np.float64)
    frequency = weights.get("effect_allele_frequency", pd.Series(np.nan, weights.index)).to_numpy(np.float64)
    table = both.variants[_variants.KEY].assign(
        rsid=shared.variants["rsid"].to_numpy()[at], weight=effect[row], frequency=frequency[row]
    )
    on_y, without = table["chromosome"] == _NOT_SCORED, table["weight"].isna()
    kept = np.flatnonzero(~on_y & ~without)

    reason = _reasons(both, weights)
    reason[row] = np.select([without, on_y], ["no weight", "chromosome Y"], "")
    lost = weights.loc[reason != "", _variants.KEY].assign(reason=reason[reason != ""])
    used = shared.take(at[kept]).exchange(site, np.flatnonzero(both.flip[_SITES][kept]))
    return used, table.iloc[kept].reset_index(drop=True), lost.reset_index(drop=True)


def _reasons(both: Reconciled, weights: pd.DataFrame) -> NDArray[np.object_]:
    """Return why weights were not matched, by their place: there may be several reasons at one place."""
    table = VariantTable.from_result(weights)
    names = np.array(table.chromosome.names, object)[table.chromosome.codes]
    place = pd.MultiIndex.from_arrays([names, table.position])
    told = both.dropped[both.dropped["sites"].str.contains(_WEIGHTS)]
    reason = np.full(len(weights), "absent at a site", object)
    for why, its in told.groupby("reason"):
        here = pd.MultiIndex.from_frame(its[["chromosome", "base_pair_location"]])
        reason[place.isin(here)] = why
    return reason


def _standard(run: Analysis, scores: Floats) -> tuple[int, float, float]:
    """Open number, mean and variance of the scores of all sites; NaN of too few."""
    n = int(run.sum("samples", np.array([scores.size]))[0])
    if n < max(2, run.federation.shared_policy.min_cell):
        return n, float("nan"), float("nan")
    mean = float(run.sum("mean", np.array([scores.sum()]))[0]) / n
    squares = float(run.sum("variance", np.array([np.square(scores - mean).sum()]))[0])
    return n, mean, squares / (n - 1)
