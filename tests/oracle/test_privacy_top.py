"""The variants most associated with a trait, chosen privately: against the plain ranking of pooled rows."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from gwas_helpers import Panel, everywhere, make_panel, swapped

import fedstats as fs
from fedstats.gwas.dosages import DosageBlock
from fedstats.gwas.members import Members
from fedstats.gwas.packed import PackedBlock
from fedstats.gwas.plink import pack
from fedstats.privacy import association
from fedstats.privacy._call import Bounds
from protocols import choice

P = fs.privacy
LIMITS = (0.0, 60.0)
#: Strong effects, each far from the next one.
CAUSAL = {3: 9.0, 11: -6.0, 17: 4.0}


def make() -> Panel:
    """Return a panel of common variants: a trait, cases, and gaps; X is among the chromosomes."""
    panel = make_panel(700, 40, seed=3)
    random = np.random.default_rng(4)
    calls = random.binomial(2, random.uniform(0.35, 0.65, (40, 1)), panel.genotypes.shape).astype(np.int8)
    chromosome = np.where(np.arange(40) < 30, "1", "X")
    ldl = 20 + random.normal(0, 3, 700) + sum(its * calls[place] for place, its in CAUSAL.items())
    ldl += 30 * calls[35]  # on X, which takes no part
    ldl = np.where(random.random(700) < 0.03, np.nan, ldl - 30)
    calls[random.random(calls.shape) < 0.02] = -1
    ldl[:2] = np.inf, -np.inf
    rows = panel.rows.assign(ldl=ldl, case=np.nan_to_num(ldl) > 25)
    return Panel(calls, panel.variants.assign(chromosome=chromosome), rows)


@pytest.fixture(scope="module")
def panel() -> Panel:
    return make()


@pytest.fixture(scope="module")
def parts(panel: Panel, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[pd.DataFrame, Path]]:
    """Three sites, the last of which has three people."""
    return panel.deal(tmp_path_factory.mktemp("panel"), [420, 277])


def plain(panel: Panel, mean: int) -> pd.Series:
    """Return the score of each variant of chromosome 1, in units of the integers."""
    whole, used = Bounds(*LIMITS).scaled(panel.rows["ldl"].to_numpy(), association.UNIT)
    x = np.where(panel.genotypes < 0, 0, panel.genotypes.astype(np.int64) - 1)
    scores = np.abs(x[:, used] @ (whole[used] - mean))
    return pd.Series(scores[:30], panel.variants["rsid"][:30]).sort_values(ascending=False)


@pytest.fixture(scope="module")
def found(parts: list[tuple[pd.DataFrame, Path]]) -> P.PrivateTop:
    """So much that noise hardly shows; every site holds the same bits."""
    first, *others = everywhere(
        parts, P.gwas_top, trait="ldl", bounds=LIMITS, k=3, effects=True, rho=Fraction(100)
    )
    for other in others:
        pd.testing.assert_frame_equal(other.to_frame(), first.to_frame(), check_exact=True)
    return first


def test_the_winners_are_those_of_the_plain_ranking(found: P.PrivateTop, panel: Panel) -> None:
    frame = found.to_frame()
    scores = plain(panel, association.centre(np.array([700.0, 0.0])))
    assert frame["rsid"].tolist() == [f"rs{place}" for place in CAUSAL] == plain_order(panel)[:3]
    assert frame.index.tolist() == [1, 2, 3]
    assert scores.size == 30 == found.variants
    exact = np.count_nonzero(panel.rows["ldl"].notna())
    assert found.nobs == pytest.approx(exact, abs=2)


def plain_order(panel: Panel) -> list[str]:
    """Return the variants about the mean of the trait, the most associated first."""
    whole, used = Bounds(*LIMITS).scaled(panel.rows["ldl"].to_numpy(), association.UNIT)
    return plain(panel, round(whole[used].mean())).index.tolist()


def test_effects_are_those_of_regressions(found: P.PrivateTop, panel: Panel) -> None:
    y = panel.rows["ldl"].clip(*LIMITS).to_numpy()
    for _, its in found.to_frame().iterrows():
        place = panel.variants["rsid"].tolist().index(its["rsid"])
        g = panel.genotypes[place]
        used = (g >= 0) & ~np.isnan(y)
        fit = np.polyfit(g[used], y[used], 1)[0]
        same = its["effect_allele"] == panel.variants["allele1"][place]
        assert its["effect"] == pytest.approx(fit if same else -fit, abs=1.5 * its["standard_error"])
        assert its["low"] < (fit if same else -fit) < its["high"]
        assert its["high"] - its["low"] == pytest.approx(2 * 1.96 * its["standard_error"], rel=1e-3)
        assert 0.2 < its["standard_error"] < 1.5


def test_it_opens_what_it_declares_and_costs_what_it_says(found: P.PrivateTop) -> None:
    declared = association.DECLARATION
    assert found.leakage.labels == {*declared.noised, *declared.published}
    spent = {its.label: (its.kind, its.size, its.rho) for its in found.leakage if its.kind != "published"}
    assert spent == {
        "trait": ("noised", 2, 10),
        "top": ("noised", 3, 50),
        "effects": ("noised", 18, 40),
    }
    assert found.rho == 100 == found.leakage.rho
    assert found.cost.rounds == 43
    assert "most associated with ldl, unadjusted" in found.summary()
    assert "(ρ = 50)" in str(found.leakage)


def test_without_noise_the_whole_order_is_the_plain_one(
    parts: list[tuple[pd.DataFrame, Path]], panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ties included, which are in the order of the genome."""
    monkeypatch.setattr(choice, "gumbel", lambda size, _: np.zeros(size, np.int64))
    monkeypatch.setattr(association, "centre", lambda _: -3000)
    result = everywhere(parts, P.gwas_top, trait="ldl", bounds=LIMITS, k=30, rho=Fraction(1, 1000))[0]
    assert result.to_frame()["rsid"].tolist() == plain(panel, -3000).index.tolist()
    assert "effect" not in result.to_frame()
    assert result.leakage.labels == {"trait", "top", "genotypes", "variants"}
    assert result.leakage.rho == Fraction(1, 1000)


def test_cases_need_no_bounds_and_budgets_pay(parts: list[tuple[pd.DataFrame, Path]]) -> None:
    def program(federation: fs.Federation, data: tuple[pd.DataFrame, Path]) -> tuple[Any, ...]:
        rows, path = data
        federation.ledger.limits["patients"] = Fraction(30)
        geno, cohort = federation.genotypes(path), federation.cohort(rows, id="iid")
        result = P.gwas_top(geno, cohort, trait="case", k=1, rho=20)
        opened = federation.leakage.rho
        with pytest.raises(fs.BudgetError):
            P.gwas_top(geno, cohort, trait="case", k=1, rho=20)
        return result.to_frame()["rsid"].item(), federation.ledger.spent("patients"), opened

    assert fs.simulate(program, parts) == [("rs3", 20, 20)] * 3


def test_with_much_noise_others_win(parts: list[tuple[pd.DataFrame, Path]]) -> None:
    """And where noise drowns the effects, there are none."""
    options = {"trait": "ldl", "bounds": LIMITS, "k": 10, "effects": True, "rho": Fraction(1, 10**6)}
    first, second = (everywhere(parts, P.gwas_top, **options)[0].to_frame() for _ in range(2))
    assert first["rsid"].tolist() != second["rsid"].tolist()
    assert first["rsid"].is_unique
    assert first["effect"].isna().any() or (first["standard_error"] > 100).all()


def test_dosages_are_tallied_by_their_calls() -> None:
    random = np.random.default_rng(9)
    calls = random.integers(-1, 3, (20, 50)).astype(np.int8)
    members, values = Members(random.permutation(50)[:31], np.zeros(50, np.int64)), random.integers(-9, 9, 31)
    flip, plain_ploidy = random.random(20) < 0.5, np.zeros(20, np.int8)
    counted = swapped(pd.DataFrame({"allele1": ["A"] * 20, "allele2": ["C"] * 20}), calls, flip)[1]
    mine = counted[:, members.samples].astype(np.int64)
    exact = np.where(mine < 0, 0, mine - 1) @ values
    packed = PackedBlock(pack(calls), np.arange(20), flip, plain_ploidy, members)
    gaps, shifts = (random.choice(its, calls.shape) for its in ([np.nan, 0.5], [0, 0.05, -0.05]))
    dosages = np.where(calls < 0, gaps, np.clip(calls + shifts, 0, 2))
    block = DosageBlock(dosages.astype(np.float32), flip, plain_ploidy, members)
    for its in (packed, block):
        np.testing.assert_array_equal(association.tally(its, members, values), exact)
    nobody = Members(np.empty(0, np.int64), np.zeros(50, np.int64))
    assert not association.tally(packed, nobody, values[:0]).any()


SOUND = {"trait": "ldl", "bounds": LIMITS, "k": 3, "rho": 1}
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no loss": ({"rho": None}, "say what it may cost"),
    "k is none": ({"k": 0}, "whole number from 1 to 100"),
    "k is large": ({"k": 101}, "whole number from 1 to 100"),
    "k is a fraction": ({"k": 2.5}, "whole number from 1 to 100"),
    "more than there are": ({"k": 31}, "share 30 variants of autosomes"),
    "no bounds": ({"bounds": None}, "bounds of column 'ldl'"),
    "bounds upside down": ({"bounds": (3, 1)}, "the lower one first"),
    "no column": ({"trait": "height"}, "height"),
    "no name": ({"trait": None}, "by its name"),
    "no number": ({"trait": "arm"}, "arm"),
    "level": ({"level": 1.5}, "level is a number"),
    "ambiguous": ({"ambiguous": "frequency"}, "'keep' or 'drop'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_calls_stop_all_sites(case: str, parts: list[tuple[pd.DataFrame, Path]]) -> None:
    options, why = BAD[case]

    def program(federation: fs.Federation, data: tuple[pd.DataFrame, Path]) -> tuple[str, Fraction]:
        geno, cohort = federation.genotypes(data[1]), federation.cohort(data[0], id="iid")
        with pytest.raises(fs.DataError, match=why):
            P.gwas_top(geno, cohort, **{**SOUND, **options})
        return federation.leakage.rho, sum(
            (its.rho for its in federation.ledger.reservations() if its.state != "returned"), Fraction(0)
        )

    assert fs.simulate(program, parts) == [(0, 0)] * 3


def test_two_sites_and_many_colluders_are_refused(parts: list[tuple[pd.DataFrame, Path]]) -> None:
    with pytest.raises(fs.PolicyError, match="hide from 0 of 2 sites, and noise hides from 1"):
        everywhere(parts[:2], P.gwas_top, **SOUND)

    def program(federation: fs.Federation, data: tuple[pd.DataFrame, Path]) -> None:
        P.gwas_top(federation.genotypes(data[1]), federation.cohort(data[0], id="iid"), **SOUND)

    with pytest.raises(fs.PolicyError, match="hide from 1 of 3 sites, and noise hides from 2"):
        fs.simulate(program, parts, shared=fs.policy.FederationPolicy(colluders=2))


@pytest.mark.slow
def test_two_sites_may_choose_against_a_dishonest_majority(parts: list[tuple[pd.DataFrame, Path]]) -> None:
    shared = fs.policy.FederationPolicy(security="dishonest-majority")

    def program(federation: fs.Federation, data: tuple[pd.DataFrame, Path]) -> list[str]:
        geno, cohort = federation.genotypes(data[1]), federation.cohort(data[0], id="iid")
        return P.gwas_top(geno, cohort, trait="ldl", bounds=LIMITS, k=2, rho=100).to_frame()["rsid"].tolist()

    assert fs.simulate(program, parts[:2], shared=shared) == [["rs3", "rs11"]] * 2


def test_plans_tell_the_noise_of_the_result(found: P.PrivateTop) -> None:
    planned = P.plan("gwas_top", found.nobs, bounds=LIMITS, k=3, rho=50 / Fraction(9, 10))
    assert planned.errors["score, scaled"] < found.noise < 2 * planned.errors["score, scaled"]
    more = P.plan("gwas_top", found.nobs, bounds=LIMITS, k=12, rho=50 / Fraction(9, 10), sites=12)
    assert more.errors["score, scaled"] == pytest.approx(4 * planned.errors["score, scaled"])
