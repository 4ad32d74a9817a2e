"""The gate for sums with noise: what it lets pass, what it books, and when it stops all sites."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from site_helpers import federate, session

import fedstats as fs
from fedstats.audit import Audit
from fedstats.cli import main
from fedstats.disclosure import Declaration
from fedstats.federation import Federation
from fedstats.ledger import Ledger
from fedstats.site import Site
from protocols.secret import public
from transport.sitekeys import SiteKeys

NOISY = Declaration("noisy", noised={"total": "a sum"}, published={"question": "nothing"})
RHO = Fraction(1, 10)


def released(federation: Federation, mine: int, *, rho: Fraction = RHO, squared: int = 1) -> Any:
    with federation.analysis(NOISY, "noised") as run:
        run.agree("question", lambda: run.reserve(rho) or {})
        noisy = run.release("total", np.full(2000, mine), squared_sensitivity=squared, rho=rho)
        return noisy, run.finish()["leakage"]


@pytest.mark.parametrize(("sites", "against"), [(2, 1), (3, 1), (5, 2)])
def test_sums_are_opened_with_the_noise_that_is_told(sites: int, against: int) -> None:
    found = fs.simulate(released, list(range(sites)))
    noisy, leakage = found[0]
    error = noisy.sums - sum(range(sites))
    assert noisy.variance == pytest.approx(sites / (sites - against) / (2 * float(RHO)))
    assert error.var() == pytest.approx(noisy.variance, rel=5 * (2 / 2000) ** 0.5)
    assert abs(error.mean()) < 5 * (noisy.variance / 2000) ** 0.5
    assert [(r.label, r.kind, r.size, r.rho) for r in leakage[1:]] == [("total", "noised", 2000, RHO)]
    assert leakage.rho == RHO
    assert "(ρ = 0.1)" in str(leakage)
    for other, _ in found[1:]:
        np.testing.assert_array_equal(other.sums, noisy.sums)


def test_a_budget_is_spent_exactly_and_then_stops_all_sites() -> None:
    def program(federation: Federation, limit: Fraction) -> tuple[Fraction, str, frozenset[str]]:
        federation.ledger.limits["patients"] = limit
        for _ in range(3):
            released(federation, 1)
        before = len(federation.leakage.labels)
        with pytest.raises(fs.FedStatsError) as caught:
            released(federation, 1)
        assert len(federation.leakage.labels) == before
        return federation.ledger.spent("patients"), type(caught.value).__name__, federation.leakage.rho

    found = fs.simulate(program, [Fraction(1), Fraction(3, 10), Fraction(1)])
    assert [its[0] for its in found] == [Fraction(3, 10)] * 3
    assert [its[1] for its in found] == ["RemoteError", "BudgetError", "RemoteError"]
    assert [its[2] for its in found] == [Fraction(3, 10)] * 3


def test_a_reservation_counts_as_spent_once_noise_was_drawn() -> None:
    def program(federation: Federation, size: int) -> tuple[Fraction, Fraction]:
        federation.ledger.limits["patients"] = Fraction(1)

        def fail() -> None:
            with federation.analysis(NOISY, "noised") as run:
                run.agree("question", lambda: run.reserve(RHO) or {})
                assert federation.ledger.spent("patients") == RHO
                run.release("total", np.ones(size, np.int64), squared_sensitivity=1, rho=RHO)

        with federation.analysis(NOISY, "noised") as run:
            run.agree("question", lambda: run.reserve(RHO) or {})
        unused = federation.ledger.spent("patients")
        with pytest.raises(fs.FedStatsError):
            fail()
        return unused, federation.ledger.spent("patients")

    assert fs.simulate(program, [3, 2, 3]) == [(0, RHO)] * 3


def test_what_was_not_declared_reserved_or_noised_does_not_pass() -> None:
    def program(federation: Federation, mine: int) -> frozenset[str]:
        with federation.analysis(NOISY, "noised") as run:
            run.agree("question", lambda: run.reserve(RHO) or {})
            one = np.array([mine])
            with pytest.raises(RuntimeError, match="does not declare 'other'"):
                run.release("other", one, squared_sensitivity=1, rho=RHO)
            with pytest.raises(RuntimeError, match="does not declare 'total'"):
                run.sum("total", one)
            run.release("total", one, squared_sensitivity=1, rho=RHO / 2)
        return federation.leakage.labels

    assert fs.simulate(program, [1, 2, 3]) == [{"question", "total"}] * 3


@pytest.mark.parametrize(("reserved", "asked"), [(RHO, 2 * RHO), (None, RHO)])
def test_more_than_was_reserved_is_not_opened(reserved: Fraction | None, asked: Fraction) -> None:
    def program(federation: Federation, mine: int) -> None:
        with federation.analysis(NOISY, "noised") as run:
            run.agree("question", lambda: {} if reserved is None else run.reserve(reserved) or {})
            run.release("total", np.array([mine]), squared_sensitivity=1, rho=asked)

    with pytest.raises(RuntimeError, match="more with noise than it has reserved"):
        fs.simulate(program, [1, 2, 3])


def test_choices_are_booked_and_let_pass_what_is_declared_and_reserved() -> None:
    def program(federation: Federation, mine: int) -> tuple[list[int], fs.disclosure.Leakage]:
        values = np.array([0, 5, 0, -40 * mine, 20])
        with federation.analysis(NOISY, "noised") as run:
            run.agree("question", lambda: run.reserve(Fraction(90), on_shares=True) or {})
            with pytest.raises(RuntimeError, match="does not declare 'other'"):
                run.choose("other", values, 1, sensitivity=1, rho=RHO)
            places = run.choose("total", values, 2, sensitivity=1, rho=Fraction(90))
            with pytest.raises(RuntimeError, match="more with noise than it has reserved"):
                run.choose("total", values, 2, sensitivity=1, rho=RHO)
            # What passed by its noise did so once.
            with run.on_shares() as engine, pytest.raises(RuntimeError, match="does not declare 'total'"):
                run.reveal({"total": public(engine, places)})
        return places.tolist(), federation.leakage

    for places, leakage in fs.simulate(program, [1, 1, 1]):
        assert places == [3, 4]
        assert [(r.label, r.kind) for r in leakage if r.rho] == [("total", "noised")]


def test_modes_with_noise_open_no_exact_sum() -> None:
    both = Declaration("both", aggregate={"total": "a sum"}, published={"question": "nothing"})

    def program(federation: Federation, mine: int) -> None:
        with federation.analysis(both, "aggregate") as run:
            run.agree("question", lambda: run.reserve(RHO) or {})
            run.release("total", np.array([mine]), squared_sensitivity=1, rho=RHO)

    with pytest.raises(RuntimeError, match="does not declare 'total' for 'aggregate'"):
        fs.simulate(program, [1, 2, 3])


@pytest.mark.parametrize(
    ("policy", "shared", "why"),
    [
        ({"colluders": 2}, {}, "rule colluders = 2 asks for noise"),
        ({"deny_functions": ()}, {"colluders": 3}, "colluders"),
        ({"min_sites": 4}, {}, "min_sites"),
    ],
    ids=str,
)
def test_rules_on_sites_hold_for_noise(policy: dict[str, Any], shared: dict[str, Any], why: str) -> None:
    its = fs.policy.SitePolicy(**policy), fs.policy.FederationPolicy(**shared)
    with pytest.raises(fs.PolicyError, match=why):
        fs.simulate(released, [1, 2, 3], policy=its[0], shared=its[1])


def test_more_colluders_that_all_sites_signed_make_more_noise() -> None:
    shared = fs.policy.FederationPolicy(colluders=2)
    noisy, _ = fs.simulate(released, [1, 2, 3], shared=shared)[0]
    assert noisy.variance == pytest.approx(3 / (2 * float(RHO)))


def test_all_but_one_may_collude_where_shares_hide_from_them() -> None:
    shared = fs.policy.FederationPolicy(security="dishonest-majority")
    noisy, _ = fs.simulate(released, [1, 2, 3, 4], shared=shared)[0]
    assert noisy.variance == pytest.approx(4 / (2 * float(RHO)))


def test_noise_that_integers_cannot_hold_is_refused_before_it_is_drawn() -> None:
    def program(federation: Federation, mine: int) -> Fraction:
        federation.ledger.limits["patients"] = Fraction(1)
        with pytest.raises(fs.DataError, match="more noise than integers hold"):
            released(federation, mine, rho=Fraction(1, 1 << 40), squared=1 << 80)
        return federation.ledger.spent("patients")

    assert fs.simulate(program, [1, 2, 3]) == [0, 0, 0]


def test_large_sensitivities_and_small_losses_need_no_finer_lattice() -> None:
    def program(federation: Federation, mine: int) -> Any:
        return released(federation, mine, rho=Fraction(1, 10**6), squared=10**12)

    noisy, _ = fs.simulate(program, [10**9] * 3)[0]
    assert noisy.sums.std() == pytest.approx((1.5 * 10**12 * 10**6 / 2) ** 0.5, rel=0.1)
    assert noisy.sums.mean() == pytest.approx(3e9, rel=0.05)


def test_bundles_and_sessions_hold_what_was_spent(tmp_path: Any) -> None:
    def program(federation: Federation, rows: pd.DataFrame) -> Fraction:
        cohort = federation.cohort(rows)
        for _ in range(2):
            result = fs.privacy.histogram(cohort, "x", [0, 1, 2], rho=0.1)
        if federation.site == "site1":
            result.save(tmp_path / "bundle.json")
        assert result.leakage.rho == result.rho == RHO
        return federation.leakage.rho

    assert fs.simulate(program, [pd.DataFrame({"x": [0.5, 1.5]})] * 3) == [2 * RHO] * 3
    assert '"rho":"1/10"' in (tmp_path / "bundle.json").read_text()


@pytest.fixture
def sites(tmp_path: Path) -> dict[str, Site]:
    """Three sites with two registered files each, of which one has a budget."""
    found = federate(tmp_path, "a", "b", "c")
    for site in found.values():
        for name in ("patients", "others"):
            pd.DataFrame({"x": [0.5, 1.5]}).to_csv(site.path.with_name(f"{name}.csv"), index=False)
        text = site.path.read_text()
        registered = 'patients = "patients.csv"\nothers = "others.csv"\n'
        text = text.replace('# patients = "patients.parquet"\n', registered)
        site.path.write_text(f"{text}\n[budget]\npatients = 0.25\n")
    return {name: Site.load(site.path) for name, site in found.items()}


def checked(site: Site) -> Ledger:
    ledger = Ledger(site.ledger, site.budget)
    ledger.check(Audit(site.audit, SiteKeys.load(site.keys).identity).entries())
    return ledger


def test_the_ledger_books_by_data_set_and_agrees_with_the_audit_log(sites: dict[str, Site]) -> None:
    def count(federation: Federation, source: Any) -> None:
        fs.privacy.histogram(federation.cohort(source), "x", [0, 1, 2], rho=0.1)

    def program(federation: Federation, name: str) -> str:
        federation._data = dict(sites[name].data)
        count(federation, "patients")
        count(federation, "others")
        count(federation, sites[name].path.with_name("patients.csv"))  # the same file by its path
        with pytest.raises(fs.FedStatsError) as caught:
            count(federation, "patients")
        with pytest.raises(fs.FedStatsError):  # made up by the script: it might be anybody's
            count(federation, pd.DataFrame({"x": [0.5]}))
        count(federation, "others")
        return type(caught.value).__name__

    assert session(sites, program) == ["BudgetError"] * 3
    for site in sites.values():
        ledger = checked(site)
        states = [(its.data, its.state, its.rho) for its in ledger.reservations()]
        assert states == [(data, "spent", RHO) for data in ("patients", "others", "patients", "others")]
        assert ledger.left("patients") == Fraction(1, 20)
        ledger.close()


def test_a_file_of_several_names_is_paid_for_by_all_of_them(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    pd.DataFrame({"x": [0.5, 1.5]}).to_csv(file, index=False)

    def program(federation: Federation, _: None) -> list[Fraction]:
        federation._data = {"alias": file, "patients": file, "others": tmp_path / "others.csv"}
        federation.ledger.limits["patients"] = Fraction(1)
        fs.privacy.histogram(federation.cohort("alias"), "x", [0, 1, 2], rho=0.1)
        return [federation.ledger.spent(name) for name in ("alias", "patients", "others")]

    assert fs.simulate(program, [None] * 3) == [[RHO, RHO, 0]] * 3


def test_what_another_site_cannot_pay_is_returned_and_logged(sites: dict[str, Site]) -> None:
    poor = sites["b"].path
    poor.write_text(poor.read_text().replace("patients = 0.25", "patients = 0.05"))

    def program(federation: Federation, name: str) -> str:
        federation._data = dict(sites[name].data)
        cohort = federation.cohort("patients")
        with pytest.raises(fs.FedStatsError) as caught:
            fs.privacy.histogram(cohort, "x", [0, 1, 2], rho=0.1)
        return type(caught.value).__name__

    assert session(sites, program) == ["RemoteError", "BudgetError", "RemoteError"]
    for name, site in sites.items():
        ledger = checked(site)
        assert [its.state for its in ledger.reservations()] == ([] if name == "b" else ["returned"])
        assert ledger.spent("patients") == 0
        ledger.close()


def test_a_site_can_let_noisy_results_pass_alone() -> None:
    only = fs.policy.SitePolicy(allow_result=False, allow_aggregate=False, allow_gated=False)
    rows = pd.DataFrame({"x": [0.5, 1.5]})

    def program(federation: Federation, _: None) -> None:
        cohort = federation.cohort(rows)
        fs.privacy.histogram(cohort, "x", [0, 1, 2], rho=0.1)
        with pytest.raises(fs.PolicyError, match="allow_aggregate"):
            fs.histogram(cohort, "x", [0, 1, 2], disclose="aggregate")

    fs.simulate(program, [None] * 3, policy=only)
    with pytest.raises(fs.PolicyError, match="allow_noised = false"):
        fs.simulate(program, [None] * 3, policy=fs.policy.SitePolicy(allow_noised=False))


ON_ROWS: list[dict[str, Any]] = [
    {"min_rows": 50},
    {"min_pooled_rows": 50},
    {"max_site_share": 0.4},
    {"max_row_share": 0.1},
    {"max_parameters": 0.01},
    {"min_difference": 5},
]


@pytest.mark.parametrize("rule", ON_ROWS, ids=str)
@pytest.mark.parametrize("sites", [2, 3])
def test_rules_on_numbers_of_rows_are_not_asked_where_there_is_noise(
    rule: dict[str, Any], sites: int
) -> None:
    """Their answers would have none. Without noise each of them forbids the same."""

    def program(federation: Federation, rows: int) -> frozenset[str]:
        frame = pd.DataFrame({"x": np.full(rows, 0.1), "y": np.arange(rows) % 2})
        frame.loc[0, "x"] = 1.0
        cohorts = [federation.cohort(its) for its in (frame, frame.iloc[1:], frame)]
        limits = {"x": (0.0, 1.0), "y": (0.0, 1.0)}
        private = [fs.privacy.ols("y ~ x", cohort, bounds=limits, rho=10) for cohort in cohorts]

        def exactly() -> list[Any]:
            return [fs.ols("y ~ x", cohort) for cohort in cohorts]

        if sites == 3:
            with pytest.raises(fs.PolicyError, match=next(iter(rule))):
                exactly()
        return frozenset().union(*(its.leakage.labels for its in private))

    found = fs.simulate(program, [30, 8, 5][:sites], policy=fs.policy.SitePolicy(**rule))
    assert found == [{"call", "cross-products"}] * sites


def count_patients(federation: Federation, sites: dict[str, Site], name: str) -> None:
    federation._data = dict(sites[name].data)
    fs.privacy.histogram(federation.cohort("patients"), "x", [0, 1, 2], rho=0.1)


def test_a_ledger_put_back_from_an_older_copy_is_noticed_by_its_site(sites: dict[str, Site]) -> None:
    session(sites, lambda federation, name: count_patients(federation, sites, name))
    older = sites["b"].ledger.read_bytes()
    session(sites, lambda federation, name: count_patients(federation, sites, name))
    sites["b"].ledger.write_bytes(older)
    with pytest.raises(fs.DataError, match="lacks reservation 2, which the audit log holds"):
        session(sites, lambda federation, name: None)


def test_a_ledger_put_back_with_its_log_is_noticed_by_the_others(sites: dict[str, Site]) -> None:
    """Even of a session that was killed: the log was countersigned before anything was opened."""
    session(sites, lambda federation, name: count_patients(federation, sites, name))
    kept = {file: file.read_bytes() for file in (sites["b"].ledger, sites["b"].audit)}

    def killed(federation: Federation, name: str) -> None:
        count_patients(federation, sites, name)
        raise KeyboardInterrupt  # nobody signs the end of such a session

    with pytest.raises(KeyboardInterrupt):
        session(sites, killed)
    for file, content in kept.items():
        file.write_bytes(content)
    with pytest.raises(fs.FedStatsError, match=r"lacks entry|has countersigned entry"):
        session(sites, lambda federation, name: None)


def test_commands_show_and_copy_the_ledger(
    sites: dict[str, Site], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session(sites, lambda federation, name: count_patients(federation, sites, name))
    site = ["--site", str(sites["a"].path)]

    def command(*words: str) -> object:
        with pytest.raises(SystemExit) as end:
            main(["budget", *words, *site])
        return end.value.code

    assert command("show") == 0
    shown = capsys.readouterr().out.split("\n")[1].split()
    assert shown == ["patients", "0.25", "0.1", "0.15", "1"]
    copy = tmp_path / "copy.csv"
    assert command("export", str(copy)) == 0
    assert pd.read_csv(copy)[["number", "data", "rho", "state"]].to_numpy().tolist() == [
        [1, "patients", "1/10", "spent"]
    ]
    assert command("export", str(copy)) == 10
    assert "nothing is overwritten" in capsys.readouterr().err
