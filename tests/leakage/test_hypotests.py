"""What hypothesis tests reveal is what they declare, in each disclosure mode, and nothing of small groups."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
from stat_helpers import refused, split

import fedstats as fs
from fedstats.cohort import Cohort
from fedstats.design import AGGREGATE as TRANSFORMS
from fedstats.disclosure import Declaration
from fedstats.hypotests import contingency, mantel_haenszel, oneway, proportions, ratios, ttest
from fedstats.hypotests.anova import DECLARATION as ANOVA
from fedstats.hypotests.breslow_day import DECLARATION as BRESLOW_DAY
from fedstats.hypotests.kendalltau import TAU_B, TAU_C
from fedstats.hypotests.kruskal import DECLARATION as KRUSKAL
from fedstats.hypotests.ks import DECLARATION as KS
from fedstats.hypotests.levene import MEAN, MEDIAN
from fedstats.hypotests.mannwhitney import DECLARATION as MANN_WHITNEY
from fedstats.hypotests.mcnemar import DECLARATION as MCNEMAR
from fedstats.hypotests.mcnemar import EXACT
from fedstats.hypotests.wilcoxon import DECLARATION as WILCOXON

SICK: dict[str, Any] = {"outcome": "sick", "event": "yes"}
BY_ARM: dict[str, Any] = {**SICK, "by": "arm"}

BOTH_MODES: list[tuple[Any, Declaration]] = [
    (partial(fs.ttest_ind, column="x", by="arm"), ttest.STUDENT),
    (partial(fs.ttest_ind, column="x", by="arm", equal_var=False), ttest.WELCH),
    (partial(fs.ttest_1samp, column="x", popmean=1.0), ttest.ONE),
    (partial(fs.ttest_rel, column="x", other="y"), ttest.PAIRED),
    (partial(fs.f_oneway, column="x", by="arm"), oneway.DECLARATION),
    (partial(fs.anova_welch, column="x", by="arm"), oneway.WELCH),
    (partial(fs.levene, column="x", by="arm", center="mean"), MEAN),
    (partial(fs.chi2_contingency, row="arm", column="sick"), contingency.CHI2),
    (partial(fs.fisher_exact, **BY_ARM), contingency.FISHER),
    (partial(fs.mcnemar, column="sick", other="relapse", event="yes"), EXACT),
    (partial(fs.mcnemar, column="sick", other="relapse", event="yes", exact=False), MCNEMAR),
    (partial(fs.cochran_mantel_haenszel, **BY_ARM, strata="sex"), mantel_haenszel.DECLARATION),
    (partial(fs.breslow_day, **BY_ARM, strata="sex"), BRESLOW_DAY),
    (partial(fs.odds_ratio, **BY_ARM), ratios.ODDS),
    (partial(fs.relative_risk, **BY_ARM), ratios.RISK),
    (partial(fs.binomtest, **SICK), proportions.BINOMIAL),
    (partial(fs.proportions_ztest, **BY_ARM), proportions.TWO),
    (lambda c, disclose: fs.anova("y ~ arm + x", c, disclose=disclose), ANOVA),
]
ONLY_RESULT: list[tuple[Any, Declaration]] = [
    (partial(fs.levene, column="x", by="arm"), MEDIAN),
    (partial(fs.mannwhitneyu, column="x", by="arm"), MANN_WHITNEY),
    (partial(fs.kruskal, column="x", by="arm"), KRUSKAL),
    (partial(fs.ks_2samp, column="x", by="arm"), KS),
    (partial(fs.wilcoxon, column="x"), WILCOXON),
    (partial(fs.kendalltau, column="x", other="y"), TAU_B),
    (partial(fs.kendalltau, column="x", other="y", variant="c"), TAU_C),
]


def frame(rows: int = 90) -> pd.DataFrame:
    chance = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "x": chance.normal(size=rows).round(1),
            "y": chance.normal(size=rows),
            "arm": np.where(np.arange(rows) % 2, "a", "b"),
            "sick": np.where(chance.random(rows) < 0.4, "yes", "no"),
            "relapse": np.where(chance.random(rows) < 0.5, "yes", "no"),
            "sex": np.where(chance.random(rows) < 0.5, "f", "m"),
        }
    )


@pytest.mark.parametrize(
    ("disclose", "tests"), [("aggregate", BOTH_MODES), ("result", BOTH_MODES), ("result", ONLY_RESULT)]
)
def test_recorded_reveals_are_the_declared_ones(disclose: str, tests: list[tuple[Any, Declaration]]) -> None:
    def run(federation: fs.Federation, data: pd.DataFrame) -> list[fs.disclosure.Leakage]:
        cohort = federation.cohort(data)
        return [call(cohort, disclose=disclose).leakage for call, _ in tests]

    for site in fs.simulate(run, split(frame(), [5, 20])):
        for leakage, (_, declaration) in zip(site, tests, strict=True):
            expected = {*declaration.opened(disclose), *declaration.published} - {*TRANSFORMS, "transforms"}
            assert leakage.labels == expected, declaration.name


@pytest.mark.parametrize(("call", "declaration"), ONLY_RESULT, ids=lambda value: getattr(value, "name", ""))
def test_ranks_and_medians_have_no_aggregate_mode(call: Any, declaration: Declaration) -> None:
    assert declaration.aggregate == {}
    errors = refused(lambda c: call(c, disclose="aggregate"), split(frame(), [5, 20]))
    assert {type(error) for error in errors} == {fs.DisclosureError}


def small_groups(cohort: Cohort, disclose: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Return of each test that a small group stops the error's text, and the labels that were revealed."""
    calls: dict[str, Any] = {
        "mean": partial(fs.ttest_ind, column="x", by="rare"),
        "rank": partial(fs.mannwhitneyu, column="x", by="rare"),
        "pairs of rows": partial(fs.kendalltau, column="x", other="few"),
        "table": partial(fs.chi2_contingency, row="rare", column="sick"),
        "ratio": partial(fs.odds_ratio, **SICK, by="rare"),
        "cells": partial(fs.proportions_ztest, **SICK, by="rare"),
        "strata": partial(fs.cochran_mantel_haenszel, **BY_ARM, strata="rare"),
        "pairs": partial(fs.mcnemar, column="sick", other="nearly", event="yes"),
    }
    found = {}
    for name, call in calls.items():
        if name in ("rank", "pairs of rows") and disclose == "aggregate":
            continue
        before = cohort.federation.leakage
        with pytest.raises(fs.PolicyError) as caught:
            call(cohort, disclose=disclose)
        counts = {reveal.label: reveal.size for reveal in before}
        new = {r.label for r in cohort.federation.leakage if r.size > counts.get(r.label, 0)}
        found[name] = str(caught.value), frozenset(new)
    return found


@pytest.mark.parametrize("disclose", ["aggregate", "result"])
def test_small_groups_are_refused_at_all_sites_before_anything_else_is_opened(disclose: str) -> None:
    rare = frame().assign(rare=np.where(np.arange(90) < 4, "few", "many"))
    rare["few"] = rare.y.where(rare.rare == "few")
    rare["nearly"] = rare.sick.where(np.arange(90) > 2, "neither")
    found = fs.simulate(lambda fed, data: small_groups(fed.cohort(data), disclose), split(rare, [5, 20]))
    assert found[0] == found[1] == found[2]
    for name, (message, labels) in found[0].items():
        assert "fewer than 5 rows (min_cell)" in message, name
        assert "few" in message or "rows with different outcomes" in message
        assert not labels & {"statistic", "means", "difference", "ratio", "standard error", "ties", "cells"}
