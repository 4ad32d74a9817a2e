"""Genome-wide scans of linked columns: genotypes at one site, trait and covariates at any.

The model without variants is fitted first, and stays on shares. Of each variant the covariates then leave
a part, whose length and product with the trait's residual are all that is opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fedstats.disclosure import Declaration, DiscloseGated
from fedstats.errors import DataError, EstimationError
from fedstats.expressions import Array
from fedstats.regression import _equations
from fedstats.vertical import generalised, joined, model, variants
from fedstats.vertical.joined import ROWS
from fedstats.vertical.variants import Null, Panel
from protocols.floating import floating
from protocols.long import LongArray, lengthen, narrow
from protocols.long import stack as stack_long
from protocols.secret import concatenate, stack

if TYPE_CHECKING:
    from fedstats.analysis import Analysis
    from fedstats.gwas._variants import Ambiguous
    from fedstats.gwas.genotypes import Genotypes
    from fedstats.gwas.results import GWASResult
    from fedstats.vertical.cohort import VerticalCohort

LINEAR = Declaration(
    "vertical.gwas.linear",
    result={
        "rows": ROWS,
        "trait residuals": "sum of squares of the trait's residual on the covariates",
        "associations": "of each variant: its variation that the covariates leave, and its product with the "
        "trait's residual, which is to say effect and standard error",
    },
    published={**joined.PUBLISHED, **variants.PUBLISHED},
)

LOGISTIC = Declaration(
    "vertical.gwas.logistic",
    result={
        "rows": ROWS,
        "response": "number of cases among the patients that count",
        "coefficients": "of the model without variants, after each iteration, in the frame of the columns",
        "associations": "of each variant: its score and the variance of it",
    },
    published={**joined.PUBLISHED, **variants.PUBLISHED},
)

#: Fractional bits of what is opened of a variant: one copy in all patients makes 1, or a weight of theirs.
PRECISION = 28
#: The covariates explain a trait if they leave less of its variance, in its unit near the standard deviation.
EXPLAINED = 1e-9
#: Newton's steps of the model without variants, and how far the last one moves: weights are those before it.
STEPS, CLOSE = 25, 1e-8


def linear(
    genotypes: Genotypes,
    cohort: VerticalCohort,
    trait: str | list[str],
    covariates: Sequence[str],
    only: pd.DataFrame | None,
    ambiguous: Ambiguous,
    disclose: DiscloseGated,
) -> GWASResult:
    """Regress a trait of linked columns on each variant; see `fedstats.gwas.linear`."""
    from fedstats.gwas._linear_model import Model
    from fedstats.gwas.imputed_shares import regressions
    from fedstats.gwas.linear import table_of
    from fedstats.gwas.results import GWASResult

    formula = _formula(trait, covariates)
    with cohort.federation.analysis(LINEAR, disclose) as run:
        part = model.agree_model(run, cohort, formula, "gwas.linear")
        panel = variants.agree_variants(run, cohort, genotypes, ambiguous, only)
        p = len(part.names)
        with run.on_shares() as engine:
            terms = model.terms_on_shares(engine, cohort, part, panel.among)
            gram = model.products_of(terms)
            patients = terms.member.sum()
        n = joined.open_number(run, patients, p + 1)
        if n <= p + 1:
            raise EstimationError(
                f"{n} patients cannot determine {p} terms and a variant: use fewer covariates"
            )
        with run.on_shares():
            sums = lengthen(gram)
            inverse = _equations.inverted(sums[:p, :p], part.names, part.hint)
            solution = inverse.times(sums[:p, p:])
            explained = (sums[p, :p].reshape(1, p) @ solution)[0]
            rest = floating(sums[p, p].reshape(1) - explained)
        squares = float(run.reveal({"trait residuals": rest})["trait residuals"][0])
        if squares <= EXPLAINED * n:
            raise EstimationError(
                f"the covariates explain the trait {part.response_name!r} entirely, or it does not vary"
            )
        spread = float(np.sqrt(squares / n))
        null = Null(concatenate([terms.Z, stack([terms.y])]), terms.member, inverse, solution)
        # By Cauchy and Schwarz, with n the sum of squares of the residual in units of its spread.
        opened = _open(run, cohort, panel, null, 1 / (spread * np.sqrt(n)), n)
        known = Model(n, p - 1, 1, within=False, df=n - p - 1)
        scan = regressions(opened[:, 0], opened[:, 1:], known)
        unit = spread * float(part.variables.frame.unit[-1])
        return GWASResult(
            **run.finish(),
            trait=part.response_name,
            frame=table_of(panel.shared.variants, scan, 0, unit),
            nobs=n,
            n_missing=cohort.sizes.union - n,
            df_resid=n - p - 1,
            reconciled=panel.shared,
        )


def logistic(
    genotypes: Genotypes,
    cohort: VerticalCohort,
    trait: str,
    covariates: Sequence[str],
    only: pd.DataFrame | None,
    ambiguous: Ambiguous,
    disclose: DiscloseGated,
) -> GWASResult:
    """Test each variant for association with cases, by scores; see `fedstats.gwas.logistic`."""
    from fedstats.gwas._linear_model import LEAST
    from fedstats.gwas.logistic import on_one_copy, table_of, take_for_binomial
    from fedstats.gwas.logistic_kernel import Scores
    from fedstats.gwas.results import GWASResult

    formula, family = _formula(trait, covariates), generalised.FAMILIES["binomial"]
    with cohort.federation.analysis(LOGISTIC, disclose) as run:
        part = model.agree_model(run, cohort, formula, "gwas.logistic", family.check, frame_response=False)
        panel = variants.agree_variants(run, cohort, genotypes, ambiguous, only)
        fit = generalised.fitted(run, cohort, part, family, STEPS, among=panel.among, close=CLOSE)
        found = fit.found
        # The residuals are those before the last step, which takes away what the terms have of them.
        with run.on_shares():
            columns = concatenate([found.weighted, stack([found.residuals])])
        opened = _open(
            run, cohort, panel, Null(columns, found.weights, found.inverse, found.step), 1.0, fit.n
        )
        variance = np.where(opened[:, 0] > LEAST, opened[:, 0], np.nan)
        scores = Scores.opened(opened[:, 1] / variance, variance**-0.5)
        frame = table_of(panel.shared, scores, fit.n)
        take_for_binomial(frame, scores, fit.total / fit.n)
        return GWASResult(
            **run.finish(),
            trait=part.response_name,
            frame=on_one_copy(frame),
            nobs=fit.n,
            n_cases=fit.total,
            n_missing=cohort.sizes.union - fit.n,
            df_resid=fit.n - len(part.names) - 1,
            reconciled=panel.shared,
        )


def _formula(trait: str | list[str], covariates: Sequence[str]) -> str:
    """Return the model without variants."""
    from fedstats.gwas._traits import check_traits

    if not isinstance(trait, str):
        raise DataError("a scan of linked columns has one trait: call it for each")
    check_traits([trait], covariates)
    return " + ".join([f"{trait} ~ 1", *covariates])


def _open(run: Analysis, cohort: VerticalCohort, panel: Panel, null: Null, factor: float, n: int) -> Array:
    """Open of each variant what is left of it, and its product times a factor: shape ``(variants, 2)``."""
    opened = []
    for number, left, product in variants.associations(run, cohort, panel, null):
        with run.on_shares():
            both: LongArray = stack_long([left, product * factor], axis=1)
            secret = narrow(both, bound=4.1 * n, fraction=PRECISION)
        opened.append(run.reveal({"associations": secret}, part=number)["associations"])
    return np.concatenate(opened)
