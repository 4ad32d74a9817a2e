"""Interactions of each variant with covariates, over the samples of all sites.

For every variant g and modifiers e, which are among the covariates, the model is

    trait ~ g + g·e + covariates,

as of PLINK 2 `--glm interaction`. The modifiers are combinations of the orthonormal covariates Q, which all
sites know, so whatever the regression needs are sums over samples of g and g² times columns that are fixed
beforehand, and the sums of `linear` over missing calls. They stay on shares (`interaction_shares`), or are
opened block by block; the covariates are then swept out of each variant's own matrix of squares and products.
A gated scan opens the variants alone that have an interaction whose P value is below a threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any, Final, TypeAlias, overload

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats import _table
from fedstats.disclosure import Declaration, DiscloseGated
from fedstats.errors import DataError, EstimationError
from fedstats.gwas import _strands, _traits, _variants, interaction_shares, plots
from fedstats.gwas import checkpoint as checkpoints
from fedstats.gwas._ahead import blocks
from fedstats.gwas._inflation import lambda_gc
from fedstats.gwas._interaction_model import Columns, Modifiers
from fedstats.gwas._pvalue import neg_log10_p
from fedstats.gwas._strands import settle_strands
from fedstats.gwas._variants import Ambiguous
from fedstats.gwas.checkpoint import Checkpoint, agree_checkpoint
from fedstats.gwas.genotypes import Block, Genotypes
from fedstats.gwas.interaction_shares import LEAST
from fedstats.gwas.members import Members
from fedstats.gwas.reconcile import Reconciled
from fedstats.results import Result
from protocols.ring import FIXED128

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort
    from fedstats.gwas._traits import Traits

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]

#: A column is a combination of those before it if they leave less than this part of its variation.
TOLERANCE: Final = 1e-8

DECLARATION = Declaration(
    "gwas.interaction",
    aggregate={
        **_traits.AGGREGATE,
        **_strands.OPENED,
        "variant sums": "of each variant: number of missing calls, Σg and Σg² of its calls; Σ of g times "
        "each orthonormalised covariate and residual, and times their products with each modifier; and Σ of "
        "g² times each modifier and the modifiers' products",
        "missing calls": "of each variant that lacks calls: Σ over these of each orthonormalised covariate "
        "and residual, and of their products",
    },
    result={
        **_traits.AGGREGATE,
        **_strands.OPENED,
        "associations": "of each variant: squares and products of what the covariates leave of it and of its "
        "products with the modifiers, and these times each residual, which is to say the estimates and their "
        "covariance matrix",
    },
    gated={
        **_traits.AGGREGATE,
        **_strands.OPENED,
        "passing": "which variants have an interaction that passes the threshold with which trait",
        "associations": "the same as of a result, of variants that pass",
    },
    published={**_variants.PUBLISHED, **_traits.PUBLISHED, **checkpoints.PUBLISHED},
)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class InteractionResult(Result):
    """Interactions of one trait's variants with modifiers; the same at every site.

    Attributes
    ----------
    trait, modifiers
        What was analysed: the trait, and the columns of the design by which the variant's effect varies.
    nobs, n_missing
        Samples of all sites that were used; rows of all sites' cohorts that were left out.
    reconciled
        How the sites' variant lists were matched.
    """

    trait: str
    modifiers: tuple[str, ...]
    nobs: int
    n_missing: int
    frame: pd.DataFrame = field(repr=False)
    reconciled: Reconciled = field(repr=False)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a variant and term, in the order of the genome; terms as in `terms`.

        Columns: `chromosome`, `base_pair_location`, `effect_allele`, `other_allele`, `term`, `beta`,
        `standard_error`, `p_value`, `rsid`, `n`, `neg_log10_p`, `t`. NaN where the variant and its products
        with the modifiers are not told apart from one another and from the covariates; on shares `n` is then
        0. Of a gated scan, there are rows of variants that pass.
        """
        return self.frame.copy()

    @property
    def terms(self) -> tuple[str, ...]:
        """``"g"``, the effect where all modifiers are 0, and ``"g:MODIFIER"``, its change by one unit."""
        return ("g", *(f"g:{name}" for name in self.modifiers))

    def of(self, term: str) -> pd.DataFrame:
        """Return the rows of one term.

        Raises
        ------
        KeyError
            There is no such term.
        """
        if term not in self.terms:
            raise KeyError(f"{term!r} is none of the terms {', '.join(self.terms)}")
        return self.frame[self.frame["term"] == term].reset_index(drop=True)

    def summary(self) -> str:
        """Return the most significant interactions as text."""
        facts: list[tuple[str, object]] = [
            ("Samples", f"{self.nobs:,}"),
            ("Left out", f"{self.n_missing:,}"),
            ("Sites", len(self.sites)),
            *((f"Genomic control λ of {term}", round(self._inflation(term), 4)) for term in self.terms),
        ]
        shown = self.frame[self.frame["term"] != "g"].nlargest(10, "neg_log10_p")
        place = shown["chromosome"] + ":" + shown["base_pair_location"].astype(str)
        columns = {"term": "term", "beta": "beta", "standard_error": "se", "neg_log10_p": "-log10 p"}
        table = shown[[*columns]].set_axis(place).rename(columns=columns)
        return "\n".join(
            [
                f"Interactions of variants with {', '.join(self.modifiers)} on {self.trait}",
                *_table.pair_lines(facts),
                "",
                *_table.frame_lines(table, digits=4),
                "",
                f"Cost: {self.cost}",
            ]
        )

    def _inflation(self, term: str) -> float:
        return lambda_gc(self.of(term)["neg_log10_p"].to_numpy())

    def plot(self, term: str | None = None, ax: Axes | None = None) -> Axes:
        """Draw the Manhattan plot of one term, by default the first interaction; needs matplotlib."""
        return plots.manhattan(self.of(term or self.terms[1]), ax=ax)


@overload
def interaction(
    genotypes: Genotypes,
    cohort: Cohort,
    *,
    trait: str,
    modifiers: Sequence[str],
    covariates: Sequence[str] = (),
    variants: pd.DataFrame | None = None,
    ambiguous: Ambiguous = "keep",
    disclose: DiscloseGated = "result",
    threshold: float = 5e-8,
    checkpoint: str | PathLike[str] | None = None,
) -> InteractionResult: ...


@overload
def interaction(
    genotypes: Genotypes,
    cohort: Cohort,
    *,
    trait: list[str],
    modifiers: Sequence[str],
    covariates: Sequence[str] = (),
    variants: pd.DataFrame | None = None,
    ambiguous: Ambiguous = "keep",
    disclose: DiscloseGated = "result",
    threshold: float = 5e-8,
    checkpoint: str | PathLike[str] | None = None,
) -> dict[str, InteractionResult]: ...


def interaction(
    genotypes: Genotypes,
    cohort: Cohort,
    *,
    trait: str | list[str],
    modifiers: Sequence[str],
    covariates: Sequence[str] = (),
    variants: pd.DataFrame | None = None,
    ambiguous: Ambiguous = "keep",
    disclose: DiscloseGated = "result",
    threshold: float = 5e-8,
    checkpoint: str | PathLike[str] | None = None,
) -> InteractionResult | dict[str, InteractionResult]:
    """Test whether the effect of each variant on quantitative traits varies with covariates.

    Parameters
    ----------
    genotypes, cohort, trait, variants, ambiguous, checkpoint
        As in `linear`.
    modifiers
        Terms that the effect may vary with, such as ``["age"]`` or ``["C(arm)"]``, which has an interaction
        for each level but the first. They are covariates too.
    covariates
        Further terms.
    disclose
        ``"result"``: each variant's pooled sums stay shared among the sites, which open its estimates and how
        they vary together. ``"gated"``: the same, but only for variants that pass the threshold.
        ``"aggregate"``: the sums are opened to every site. Shares take three sites or more.
    threshold
        P value below which a gated scan opens a variant: that of one of its interactions, whatever that of
        its effect ``g``.

    Returns
    -------
    InteractionResult
        Rows of every variant, or of a gated scan of those that pass. For a list of traits a dict of them, by
        trait, in their order.

    Raises
    ------
    DataError, RemoteError, EstimationError
        As of `linear`; or no modifier is given.

    Notes
    -----
    With sums opened each variant is regressed on the samples that have a call, with those of the covariates
    that are no combinations of others among these. On shares missing calls are set to the mean of the site's
    own, and a variant that has none at a site is not tested. Standard errors are those of least squares;
    where the variance of a trait varies with a modifier they are too small or too large, see `fs.ols` for the
    few that matter.

    A gated scan passes no variant that is rare, or little but a combination of its interactions: of which the
    covariates leave less than some three copies, or of which less than a sixty-fourth is left by the others,
    of all columns together. Modifiers should be centred for that if there are powers among them:
    ``"scale(age)"``, not ``"age"``.

    **Leakage.** Every site learns each single site's list of variants and, of all sites together, counts,
    sums and cross-products of traits and covariates. As ``"result"`` it learns of each variant the estimates
    and their covariance matrix, to five digits or so, which tell the frequency of the rarer allele nearly,
    also in groups that a modifier makes. As ``"aggregate"`` it learns the sums that `DECLARATION` lists, from
    which these frequencies follow. See `linear` for what they tell. As ``"gated"`` it learns which variants
    pass, and of these what a result tells: too few numbers to tell who is among the samples. A coalition of t
    sites learns as much of the other n − t; of sums on shares nothing, as long as t < n/2, or with a
    dishonest majority t < n.

    **Cost.** Rounds as of `linear` with imputed calls. For k columns of covariates without the intercept, m
    traits and q modifiers, a variant has 3 + (k + m)(q + 1) + q(q + 3)/2 sums, and one that lacks calls
    k + m + k(k + 1)/2 + km + m more; on shares it has (q + 1)(q/2 + 2 + k + m) numbers. Gated, a block takes
    some 60 rounds more, 5 more for every further modifier, and 2.6 kB a variant and modifier.

    Examples
    --------
    >>> by_age = fs.gwas.interaction(geno, cohort, trait="ldl", modifiers=["age"])  # doctest: +SKIP
    >>> by_age.of("g:age").nsmallest(10, "p_value")  # doctest: +SKIP
    """
    traits = trait if isinstance(trait, list) else [trait]

    def check() -> None:
        if isinstance(modifiers, str) or not modifiers:
            raise DataError("modifiers is a list of terms, one or more: ['age']")
        if not 0 < threshold < 1:
            raise DataError(f"threshold={threshold}: a P value between 0 and 1")
        _traits.check_traits(traits, [*modifiers, *covariates])

    with cohort.federation.analysis(DECLARATION, disclose) as run:
        samples, shared = _variants.agree_variants(
            run, genotypes, cohort, ambiguous, variants=variants, check=check
        )
        model = _traits.agree_traits(
            run,
            cohort,
            traits,
            list(dict.fromkeys([*modifiers, *covariates])),
            samples,
            options=f"modifiers={list(modifiers)!r}, ambiguous={ambiguous!r}, "
            f"disclose={disclose!r}, threshold={threshold}, checkpoint={checkpoint is not None}",
            site_intercepts=False,
        )
        members = genotypes.members(samples[model.rows])
        shared = settle_strands(run, genotypes, members, shared, ambiguous)
        frame = Modifiers.of(model, modifiers)
        with agree_checkpoint(run, checkpoint, genotypes, cohort, samples, shared) as saved:
            if disclose == "aggregate":
                scan = _scan(run, genotypes, shared, members, model, frame, saved)
                passes = np.ones((len(shared), len(model.names)), np.bool_)
            else:
                gate = threshold if disclose == "gated" else None
                scan, passes = _scan_on_shares(run, genotypes, shared, members, model, frame, saved, gate)
        common = run.finish()
    results = {
        name: _result(common, model, shared, scan, column, passes[:, column], frame.names)
        for column, name in enumerate(model.names)
    }
    return results if isinstance(trait, list) else results[trait]


def _scan(
    run: Analysis,
    genotypes: Genotypes,
    shared: Reconciled,
    members: Members,
    model: Traits,
    frame: Modifiers,
    saved: Checkpoint,
) -> _Scan:
    """Open the sums of all variants, block by block, and solve each block."""
    columns = Columns.of(members, model, frame)

    def local(part: slice) -> tuple[Block, Floats]:
        block = genotypes.block(shared, part, members)
        return block, columns.sums(block)

    found = [_Scan(**its) for its in saved.finished("variants")]
    for number, _, (block, mine) in blocks(run, len(shared), local, done=len(found)):
        pooled = run.sum("variant sums", mine, ring=FIXED128, part=number)
        which = np.flatnonzero(pooled[:, 0] > 0.5)
        lost = np.zeros((0, columns.of_missing))
        if which.size:
            lost = np.hstack(block.squares_of_missing(which, columns.plain))
            lost = run.sum("missing calls", lost, ring=FIXED128, part=number)
        found.append(_solve(columns.matrices(pooled, which, lost, model.n), columns, frame))
        saved.keep("variants", vars(found[-1]))
    return _Scan.concatenate(found)


def _scan_on_shares(
    run: Analysis,
    genotypes: Genotypes,
    shared: Reconciled,
    members: Members,
    model: Traits,
    frame: Modifiers,
    saved: Checkpoint,
    threshold: float | None,
) -> tuple[_Scan, NDArray[np.bool_]]:
    """Scan without opening any sum; with a threshold, open what passes it alone."""
    columns = Columns.of(members, model, frame)
    known = interaction_shares.Model(model.n, columns.traits, model.df_resid - columns.modifiers)
    if known.df < 1:
        raise EstimationError(
            f"{model.n} complete samples over all sites cannot determine {columns.terms} terms, a variant "
            f"and {columns.modifiers} interactions: use fewer terms"
        )

    def local(part: slice) -> interaction_shares.Contribution:
        block = genotypes.block(shared, part, members)
        return interaction_shares.Contribution.of(block, members, columns, model.n)

    kept = saved.finished("variants")
    scans = [_Scan(**its["scan"]) for its in kept]
    passes = [its["passes"] for its in kept]
    for number, _, mine in blocks(run, len(shared), local, done=len(scans)):
        S, s, passing = interaction_shares.associations(run, number, mine, known, threshold)
        usable = np.linalg.eigvalsh(S)[:, 0] > LEAST
        n = np.where(usable, float(known.n), 0.0)
        df = np.full(len(S), float(known.df))
        rest = np.full((len(S), known.traits), float(known.n))
        scans.append(_estimate(S, s, rest, n, df, usable, frame))
        passes.append(passing)
        saved.keep("variants", {"scan": vars(scans[-1]), "passes": passing})
    return _Scan.concatenate(scans), np.concatenate(passes)


@dataclass(frozen=True, eq=False)
class _Scan:
    """Regressions of standardised residuals; NaN where there is none.

    Attributes
    ----------
    n, df
        Samples and residual degrees of freedom, shape ``(variants,)``.
    beta, standard_error
        Of g and of g·e for each modifier: shape ``(variants, 1 + modifiers, traits)``.
    """

    n: Floats
    df: Floats
    beta: Floats
    standard_error: Floats

    @classmethod
    def concatenate(cls, scans: Sequence[_Scan]) -> _Scan:
        """Join the scans of consecutive blocks."""
        names = cls.__annotations__
        return cls(**{name: np.concatenate([getattr(its, name) for its in scans]) for name in names})


def _solve(matrices: Floats, columns: Columns, frame: Modifiers) -> _Scan:
    """Sweep the covariates out of each variant's matrix, and solve for what is left."""
    left = matrices.copy()
    k, q = columns.terms, columns.modifiers
    whole = np.einsum("vii->vi", matrices)
    known = np.zeros(len(left))
    for a in range(1 + k):
        pivot = left[:, a, a]
        # A covariate that is a combination of others among the calls takes no part, as in R's lm.
        good = pivot > TOLERANCE * whole[:, a]
        known += good
        row = left[:, a, a + 1 :]
        factor = np.where(good, 1 / np.where(good, pivot, 1.0), 0.0)
        left[:, a + 1 :, a + 1 :] -= (
            factor[:, np.newaxis, np.newaxis] * row[:, :, np.newaxis] * row[:, np.newaxis]
        )
    G, R = slice(1 + k, 2 + k + q), slice(2 + k + q, None)
    S, s, rest = left[:, G, G], left[:, G, R], np.einsum("vii->vi", left[:, R, R])
    n = matrices[:, 0, 0]
    df = n - known - (1 + q)
    squares = np.einsum("vii->vi", S)
    usable = (squares > TOLERANCE * whole[:, G]).all(axis=1) & (df > 0)
    return _estimate(S, s, rest, n, df, usable, frame)


def _estimate(
    S: Floats,
    s: Floats,
    rest: Floats,
    n: Floats,
    df: Floats,
    usable: NDArray[np.bool_],
    frame: Modifiers,
) -> _Scan:
    """Regress on what the covariates leave of g and of g·f.

    Parameters
    ----------
    S, s, rest
        Its squares and products, its products with the traits, and the traits' squares.
    n, df
        As of `_Scan`.
    usable
        Variants that have estimates, unless the columns are combinations of one another.
    """
    unit = np.eye(S.shape[1])
    length = np.sqrt(np.maximum(np.einsum("vii->vi", S), 0.0))
    length[~usable] = 1.0
    scaled = S / length[:, :, np.newaxis] / length[:, np.newaxis]
    scaled[~usable] = unit
    usable = usable & (np.linalg.eigvalsh(scaled)[:, 0] > TOLERANCE)
    scaled[~usable] = unit
    inverse = np.linalg.inv(scaled) / length[:, :, np.newaxis] / length[:, np.newaxis]
    b = inverse @ s
    residual = np.maximum(rest - np.einsum("vgt,vgt->vt", b, s), 0.0) / np.maximum(df, 1.0)[:, np.newaxis]
    L = frame.unframing
    variance = np.einsum("ig,vgh,ih->vi", L, inverse, L)
    nothing = np.where(usable, 0.0, np.nan)[:, np.newaxis, np.newaxis]
    return _Scan(
        n, df, L @ b + nothing, np.sqrt(variance[:, :, np.newaxis] * residual[:, np.newaxis]) + nothing
    )


def _result(
    common: dict[str, Any],
    model: Traits,
    shared: Reconciled,
    scan: _Scan,
    column: int,
    passes: NDArray[np.bool_],
    modifiers: tuple[str, ...],
) -> InteractionResult:
    known = shared.variants
    # The one copy of a haploid chromosome is counted as two.
    unit = model.unit[column] * np.where(known["chromosome"].isin(_variants.HAPLOID), 2.0, 1.0)
    terms = ("g", *(f"g:{name}" for name in modifiers))
    beta, error = scan.beta[:, :, column], scan.standard_error[:, :, column]
    with np.errstate(divide="ignore", invalid="ignore"):
        t = beta / error
    minus_log = neg_log10_p(t, np.maximum(scan.df, 1.0)[:, np.newaxis])
    every = np.repeat(np.arange(len(known)), len(terms))
    frame = known[_variants.KEY].iloc[every].reset_index(drop=True)
    frame = frame.assign(
        term=np.tile(np.array(terms, object), len(known)),
        beta=(beta * unit[:, np.newaxis]).ravel(),
        standard_error=(error * unit[:, np.newaxis]).ravel(),
        p_value=10.0 ** -minus_log.ravel(),
        rsid=known["rsid"].to_numpy()[every],
        n=np.rint(scan.n).astype(np.int64)[every],
        neg_log10_p=minus_log.ravel(),
        t=t.ravel(),
    )
    return InteractionResult(
        **common,
        trait=model.names[column],
        modifiers=modifiers,
        frame=frame[passes[every]].reset_index(drop=True),
        nobs=model.n,
        n_missing=model.dropped,
        reconciled=shared,
    )
