"""Rules: each with a case that passes and one that is refused, at a site whose peers do not hold it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fedstats as fs
from fedstats.cohort import Cohort
from fedstats.disclosure import Declaration
from fedstats.policy import Demands, FederationPolicy, SitePolicy
from fedstats.site import Site
from protocols.floating import floating
from protocols.inputs import sum_shares

HEAD = 'name = "lyon"\nkeys = "keys"\nfederation = "federation.toml"\n\n[policy]\n'


def load(folder: Path, rules: str) -> SitePolicy:
    path = folder / "site.toml"
    path.write_text(HEAD + rules)
    return Site.load(path).policy


# What stands in a file


def test_every_rule_is_read(tmp_path: Path) -> None:
    policy = load(
        tmp_path,
        'functions = ["describe", "gwas.*"]\nsensitive = ["hiv"]\nmin_rows = 20\nmax_parameters = 0.1\n'
        'approval = "approve"\nallow_aggregate = false\nmin_bin_width = { age = 5, bmi = 0.5 }\n',
    )
    assert policy == SitePolicy(
        functions=("describe", "gwas.*"),
        sensitive=("hiv",),
        min_rows=20,
        max_parameters=0.1,
        approval="approve",
        allow_aggregate=False,
        min_bin_width={"age": 5, "bmi": 0.5},
    )


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ("min_rows = 5\nmin_row = 5", r"line 7: \[policy\] knows no rule 'min_row'; did you mean 'min_rows'"),
        ("\nmin_rows = true", r"line 7: rule 'min_rows' must be a whole number"),
        ("min_rows = 5.0", r"line 6: rule 'min_rows' must be a whole number"),
        ("min_rows = -1", r"line 6: rule 'min_rows' must be between 0 and"),
        ("max_parameters = 0", r"line 6: rule 'max_parameters' must be between 1e-06 and 1.0"),
        ("max_parameters = nan", r"line 6: rule 'max_parameters' must be between"),
        ("max_digits = 2", r"line 6: rule 'max_digits' must be between 3 and 17"),
        ("max_site_share = 2", r"line 6: rule 'max_site_share' must be between 0.001 and 1.0"),
        ("min_bin_width = 5", r"line 6: rule 'min_bin_width' must be a table of positive numbers by column"),
        ("min_bin_width = { age = 0 }", r"line 6: rule 'min_bin_width' must be a table of positive numbers"),
        ('columns = "age"', r"line 6: rule 'columns' must be a list of texts"),
        ("columns = [1]", r"line 6: rule 'columns' must be a list of texts"),
        ("allow_aggregate = 1", r"line 6: rule 'allow_aggregate' must be true or false"),
        ('approval = "ask"', r"line 6: rule 'approval' must be one of 'open', 'approve', 'deny'"),
        ('deny_functions = ["gwas.linaer"]', r"line 6: .*'gwas.linaer'.*did you mean 'gwas.linear'"),
        ("allow_two_site_sums = true\nmin_sites = 4", r"site.toml: the rules .* contradict each other"),
        ("allow_two_site_sums = true\ncolluders = 2", r"site.toml: the rules .* contradict each other"),
    ],
)
def test_what_is_not_understood_names_file_line_rule_and_remedy(
    tmp_path: Path, rules: str, message: str
) -> None:
    with pytest.raises(fs.PolicyError, match=message) as caught:
        load(tmp_path, rules)
    assert str(tmp_path / "site.toml") in str(caught.value)


def test_defaults_survive_being_written(tmp_path: Path) -> None:
    created = fs.site.create_site(tmp_path / "lyon", "lyon", endpoint=None)
    assert created.policy == SitePolicy()
    text = created.path.read_text()
    assert all(f"\n{rule.name} = " in text for rule in fields(SitePolicy))


def test_the_manifest_cannot_hold_a_sites_rules() -> None:
    with pytest.raises(fs.PolicyError, match=r"x.toml: \[policy\] knows no rule 'functions'"):
        FederationPolicy.from_table({"functions": "describe"}, "x.toml")


# What happens in a session

AGGREGATE = {"disclose": "aggregate"}
MODES = Declaration("modes", result={"one": "1"}, gated={"one": "1"}, published={"question": "nothing"})


def rows(seed: int, many: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(random.normal(size=(many, 4)), columns=["y", "a", "b", "c"])
    return frame.assign(
        k=np.arange(many) % 3, name=[f"p{seed}" for _ in range(many)], arm=random.choice(["x", "z"], many)
    )


PARTS = [rows(1, 30), rows(2, 12), rows(3, 25)]


#: The part of the largest magnitude of column a in all of them, rounded down to thousandths.
LARGEST = float(pd.concat(PARTS)["a"].abs().pipe(lambda a: a.max() / a.sum() * 1000 // 1 / 1000))


def attempt(
    program: Callable[[Cohort], object], mine: SitePolicy, shared: FederationPolicy | None = None
) -> tuple[list[BaseException | None], list[frozenset[str]]]:
    """Run at three sites, of which the second alone has the rules; return errors, and what was opened."""

    def run(federation: fs.Federation, number: int) -> tuple[BaseException | None, frozenset[str]]:
        federation.policy = mine if number == 1 else SitePolicy()
        cohort = federation.cohort(PARTS[number])
        try:
            program(cohort)
        except fs.FedStatsError as error:
            caught: BaseException | None = error
        else:
            caught = None
        opened = {reveal.label for reveal in federation.leakage if reveal.kind != "published"}
        return caught, frozenset(opened)

    errors, opened = zip(*fs.simulate(run, [0, 1, 2], shared=shared), strict=True)
    return list(errors), list(opened)


def describe(*columns: str) -> Callable[[Cohort], object]:
    return lambda cohort: fs.describe(cohort, list(columns) or None, **AGGREGATE)


def counts(column: str) -> Callable[[Cohort], object]:
    return lambda cohort: fs.value_counts(cohort, column)


def bins(column: str, edges: int | list[float]) -> Callable[[Cohort], object]:
    return lambda cohort: fs.histogram(cohort, column, edges)


def ols(formula: str) -> Callable[[Cohort], object]:
    return lambda cohort: fs.ols(formula, cohort, **AGGREGATE)


def one(disclose: str) -> Callable[[Cohort], object]:
    def program(cohort: Cohort) -> None:
        with cohort.federation.analysis(MODES, disclose) as run:
            run.agree("question", dict)
            run.reveal({"one": sum_shares(run.engine, np.array([1]), bound=9)})

    return program


def noisy(column: str) -> Callable[[Cohort], object]:
    return lambda cohort: fs.privacy.mean(cohort, column, bounds=(-9, 9), rho=1)


@pytest.mark.parametrize(
    ("policy", "passing", "refused", "message"),
    [
        ({"allow_gated": False}, one("result"), one("gated"), "allow_gated = false forbids disclose='gated'"),
        (
            {"allow_noised": False},
            describe("a"),
            noisy("a"),
            "allow_noised = false forbids disclose='noised'",
        ),
        ({"functions": ("describe",)}, describe("a"), ols("y ~ a"), r'functions = \["describe"\]'),
        ({"deny_functions": ("o*",)}, describe("a"), ols("y ~ a"), r'deny_functions = \["o\*"\]'),
        ({"columns": ("y", "a")}, ols("y ~ a"), ols("y ~ a + b"), r"columns = .* does not list 'b'"),
        ({"deny_columns": ("b",)}, describe("a"), describe(), r"deny_columns = .* forbids 'b'"),
        ({"identifiers": ("n*",)}, describe("a"), describe("name"), "identifiers = .*'name' identifies"),
        ({"sensitive": ("b",)}, describe("a"), describe("b"), "sensitive = .*sums of 'b': use another mode"),
        (
            {"quasi_identifiers": ("a", "b", "c"), "max_quasi_identifiers": 2},
            describe("a", "b", "y"),
            describe("a", "b", "c"),
            "max_quasi_identifiers = 2 is exceeded by 'a', 'b', 'c'",
        ),
        ({"min_rows": 12}, describe("a"), None, ""),
        ({"min_rows": 13}, None, describe("a"), "min_rows = 13 asks for more rows of this site"),
        ({"min_sites": 3, "colluders": 1}, describe("a"), None, ""),
        ({"min_sites": 4}, None, describe("a"), "min_sites = 4 asks for more sites than 3"),
        ({"colluders": 2}, None, describe("a"), "colluders = 2 asks for 4 sites"),
        ({"min_cell": 5}, describe("a"), None, ""),
        ({"min_cell": 6}, None, describe("a"), "min_cell = 6 is more than the federation's 5"),
        ({"max_digits": 6}, None, describe("a"), "max_digits = 6 .*opens exact sums: use another mode"),
        ({"allow_aggregate": False}, counts("arm"), describe("a"), "allow_aggregate = false forbids"),
        (
            {"allow_result": False},
            describe("a"),
            counts("arm"),
            "allow_result = false forbids disclose='resu",
        ),
        ({"min_bin_width": {"a": 2}}, bins("b", [0, 1, 2]), bins("a", [0, 1, 3]), r"\{a = 2\} asks for bins"),
        ({"min_bin_width": {"a": 1}}, bins("a", [0, 1, 3]), bins("a", 3), "bins of 'a' that wide"),
        ({"min_bin_width": {"k": 1}}, counts("arm"), counts("k"), "bins of 'k' that wide: give a histogram"),
    ],
)
def test_a_rule_of_one_site_stops_all_before_anything_is_opened(
    policy: dict[str, object],
    passing: Callable[[Cohort], object] | None,
    refused: Callable[[Cohort], object] | None,
    message: str,
) -> None:
    mine = SitePolicy(**policy)  # type: ignore[arg-type]
    if passing is not None:
        assert attempt(passing, mine)[0] == [None] * 3
    if refused is not None:
        errors, opened = attempt(refused, mine)
        assert [type(error) for error in errors] == [fs.RemoteError, fs.PolicyError, fs.RemoteError]
        with pytest.raises(fs.PolicyError, match=message):
            raise errors[1] or AssertionError
        assert "or its steward can change [policy] in site.toml" in str(errors[1])
        assert "site2 (policy error)" in str(errors[0])
        assert opened == [frozenset()] * 3


def test_rows_that_miss_a_value_do_not_count_in_a_model() -> None:
    gaps = [part.assign(a=part["a"].where(np.arange(len(part)) > 2)) for part in PARTS]

    def run(federation: fs.Federation, frame: pd.DataFrame) -> None:
        fs.ols("y ~ a", federation.cohort(frame), **AGGREGATE)

    fs.simulate(run, gaps, policy=SitePolicy(min_rows=9))
    with pytest.raises(fs.PolicyError, match="min_rows = 10"):
        fs.simulate(run, gaps, policy=SitePolicy(min_rows=10))


# What all sites decide together: 67 rows in all


@pytest.mark.parametrize(
    ("policy", "program", "rule", "message"),
    [
        ({"min_pooled_rows": 67}, describe("a"), "min_pooled_rows", None),
        ({"min_pooled_rows": 68}, describe("a"), "min_pooled_rows", "asks for more rows over all sites"),
        ({"max_site_share": 0.448}, describe("a"), "max_site_share", None),  # 30 of 67 are 0.4478
        ({"max_site_share": 0.447}, describe("a"), "max_site_share", "one site has more of the rows of all"),
        ({"max_row_share": LARGEST + 0.001}, describe("a"), "max_row_share", None),
        (
            {"max_row_share": LARGEST},
            describe("a"),
            "max_row_share",
            "one row makes up more of 'a': take logarithms",
        ),
        ({"max_parameters": 4 / 67}, ols("y ~ a + b + C(arm)"), "max_parameters", None),
        (
            {"max_parameters": 4 / 68},
            ols("y ~ center(a) + b + C(arm)"),
            "max_parameters",
            "allows fewer than 4 parameters",
        ),
    ],
)
def test_pooled_rules_are_decided_on_shares_and_refused_by_all_alike(
    policy: dict[str, object], program: Callable[[Cohort], object], rule: str, message: str | None
) -> None:
    errors, opened = attempt(program, SitePolicy(**policy))  # type: ignore[arg-type]
    assert all(rule in its for its in opened)
    if message is None:
        assert errors == [None] * 3
        return
    assert opened == [{rule}] * 3
    for error in errors:
        assert isinstance(error, fs.PolicyError)
        assert message in str(error)
        assert f"rule {rule} = {next(iter(policy.values()))} of site site2" in str(error)


def test_pooled_rules_cannot_be_decided_between_two_sites() -> None:
    policy = SitePolicy(allow_two_site_sums=True, min_pooled_rows=5)
    with pytest.raises(fs.PolicyError, match="min_pooled_rows = 5 is decided on shares"):
        fs.simulate(lambda fed, d: describe("a")(fed.cohort(d)), PARTS[:2], policy=policy)


def few_rows(
    sizes: list[int], *policies: SitePolicy, shared: FederationPolicy | None = None, **options: str
) -> set[str]:
    """Fit four parameters to so many rows of each site; return which labels were opened."""

    def run(federation: fs.Federation, site: int) -> set[str]:
        federation.policy = policies[site % len(policies)]
        fs.ols("y ~ a + b + C(arm)", federation.cohort(PARTS[site].head(sizes[site])), **options)
        return {reveal.label for reveal in federation.leakage}

    return fs.simulate(run, list(range(len(sizes))), shared=shared)[0]  # type: ignore[arg-type]


@pytest.mark.parametrize("disclose", ["result", "aggregate"])
def test_by_default_parameters_are_a_third_of_the_rows_at_most(disclose: str) -> None:
    """Of 13 rows 4 parameters are less than 0.33, of 12 more: nothing is opened to decide that."""
    default, free = SitePolicy(), SitePolicy(max_parameters=1.0)
    refused = r"max_parameters = 0\.33 of site {} allows fewer than 4 parameters for 12 rows over all sites"
    assert "max_parameters" not in few_rows([5, 4, 4], default, disclose=disclose)
    with pytest.raises(fs.PolicyError, match=refused.format("site1, site2, site3")):
        few_rows([5, 3, 4], default, disclose=disclose)
    with pytest.raises(fs.PolicyError, match=refused.format("site3")):
        few_rows([5, 3, 4], free, free, default, disclose=disclose)
    few_rows([5, 3, 4], free, disclose=disclose)
    with pytest.raises(fs.PolicyError, match=r"max_parameters = 0\.3 of site"):
        few_rows([5, 4, 4], free, shared=FederationPolicy(max_parameters=0.3), disclose=disclose)


def test_between_two_sites_the_default_holds_too() -> None:
    allowing = [SitePolicy(allow_two_site_sums=True, max_parameters=most) for most in (0.33, 1.0)]
    few_rows([9, 4], allowing[0], disclose="aggregate")
    with pytest.raises(fs.PolicyError, match=r"max_parameters = 0\.33 of site site1 allows"):
        few_rows([8, 4], *allowing, disclose="aggregate")
    few_rows([8, 4], allowing[1], disclose="aggregate")


def test_a_rule_of_the_federation_says_whose_it_is() -> None:
    errors, _ = attempt(describe("a"), SitePolicy(), FederationPolicy(min_rows=26))
    assert [type(error) for error in errors] == [fs.RemoteError, fs.PolicyError, fs.PolicyError]
    assert "the federation's rule min_rows = 26" in str(errors[2])
    assert "let all sites sign an epoch" in str(errors[2])


THIRDS = Declaration("thirds", result={"third": "a third of a sum"}, published={"question": "nothing"})


def test_digits_are_those_of_the_strictest_site() -> None:
    def run(federation: fs.Federation, digits: int) -> list[float]:
        federation.policy = SitePolicy(max_digits=digits)
        with federation.analysis(THIRDS, "result") as run:
            run.agree("question", dict)
            with run.on_shares() as engine:
                total = sum_shares(engine, np.array([1]), bound=100)
                ratio = floating(total) / 9
                fixed = sum_shares(engine, np.array([1 / 9]), bound=100, fraction=40)
            opened = [
                run.reveal({"third": its}, digits=40, part=part) for part, its in enumerate([ratio, fixed])
            ]
            assert run.reveal({"third": total * 12345}, part=3)["third"].item() == 37035  # a count
            return [its["third"].item() for its in opened]

    fine, coarse = fs.simulate(run, [17, 17, 17])[0], fs.simulate(run, [17, 4, 6])[0]
    for exact, rounded in zip(fine, coarse, strict=True):
        assert abs(exact - 1 / 3) < 1e-11
        assert 1e-7 < abs(rounded - 1 / 3) < 1e-4


def test_least_squares_with_few_digits() -> None:
    def run(federation: fs.Federation, frame: pd.DataFrame) -> fs.OLSResult:
        return fs.ols("y ~ a + b", federation.cohort(frame))

    found = fs.simulate(run, PARTS, policy=SitePolicy(max_digits=5))[0].params.to_numpy()
    pooled = pd.concat(PARTS)
    X = np.column_stack([np.ones(len(pooled)), pooled[["a", "b"]]])
    exact = np.linalg.lstsq(X, pooled["y"].to_numpy(), rcond=None)[0]
    assert np.abs(found - exact).max() < 1e-4
    assert np.abs(found - exact).max() > 1e-9


def test_columns_that_no_rule_has_seen_are_not_opened() -> None:
    late = Declaration("late", aggregate={"sum": "a sum"}, published={"question": "nothing"})

    def run(federation: fs.Federation, frame: pd.DataFrame) -> None:
        cohort = federation.cohort(frame)
        with federation.analysis(late, "aggregate") as run:
            run.agree("question", dict)
            run.sum("sum", cohort.numbers("a").sum())

    with pytest.raises(RuntimeError, match="used 'a' after the sites had agreed"):
        fs.simulate(run, PARTS)


def test_an_analysis_without_rows_does_not_pass_a_rule_on_rows() -> None:
    def run(federation: fs.Federation, _: None) -> None:
        with federation.analysis(THIRDS, "result") as run:
            run.agree("question", dict)
            run.reveal({"third": sum_shares(run.engine, np.array([1]), bound=100)})

    with pytest.raises(fs.PolicyError, match="cannot be applied, as this analysis has no table"):
        fs.simulate(run, [None] * 3, policy=SitePolicy(min_pooled_rows=2))


@pytest.mark.parametrize(
    "told",
    [None, [], {"rows": 1}, {"max_digits": 99}, {"max_digits": 5.0}, {"max_parameters": "0.1"}, {1: 2}],
    ids=repr,
)
def test_demands_of_a_peer_are_read_strictly(told: object) -> None:
    assert Demands.from_wire(told) is None


def test_demands_survive_the_wire() -> None:
    asked = Demands(min_pooled_rows=7, max_row_share=0.25, max_digits=5)
    assert Demands.from_wire(asked.to_wire()) == asked
    assert Demands().to_wire() == {}
