"""Meta-analysis: sites that bring an estimate each, instead of rows.

For those who must: an analysis of the pooled rows needs no normal approximation at each site, and is offered
for most models here. The estimates of the sites stay hidden unless they are released: their combination is
computed on shares (`protocols.floating`), by the formulas that serve for released ones too.

References
----------
R. DerSimonian and N. Laird, "Meta-Analysis in Clinical Trials", Controlled Clinical Trials 7, 1986; W.
Viechtbauer, "Bias and Efficiency of Meta-Analytic Variance Estimators in the Random-Effects Model", Journal
of Educational and Behavioral Statistics 30, 2005; J. Hartung and G. Knapp, "On Tests of the Overall Treatment
Effect in Meta-Analysis with Normally Distributed Responses", Statistics in Medicine 20, 2001.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from fedstats import _table
from fedstats._heterogeneity import likeliest
from fedstats.design import check_same_call
from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import DataError, EstimationError, ProtocolError
from fedstats.expressions import Array
from fedstats.results import Result
from protocols.floating import concatenate, floating, maximum, sqrt, stack
from protocols.long import LongArray, share_long
from protocols.long import concatenate as join_long
from protocols.secret import SecretArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fedstats.analysis import Analysis
    from fedstats.federation import Federation

Model: TypeAlias = Literal["fixed", "DL", "ML", "REML"]
Combination: TypeAlias = Literal["fisher", "stouffer"]

_CALL = "the text of the call"
DECLARATION = Declaration(
    "meta_analysis",
    result={"combined": "the combined estimate and its variance, Q, τ² and I²"},
    published={"call": _CALL},
)
ITERATED = Declaration(
    "meta_analysis",
    result={**DECLARATION.result, "converged": "after each step towards τ², whether it was a small one"},
    published=DECLARATION.published,
)
RELEASED = Declaration(
    "meta_analysis", published={"estimates": f"{_CALL}, and the site's estimate and standard error"}
)
_SUMS = {
    "sums": "Σ log p of the sites' p-values p; or Σ wz and Σ w² of their normal quantiles z and weights w"
}
COMBINED = Declaration("combine_pvalues", aggregate=_SUMS, result=_SUMS, published={"call": _CALL})

#: How small the last step towards τ² is: of released estimates, and on shares.
_CONVERGED, _CONVERGED_ON_SHARES = 1e-12, 2.0**-28
#: Estimates and standard errors lie between these, and have so many fractional bits when they are shared.
LARGEST, SMALLEST, FRACTION = 2.0**60, 2.0**-60, 200


def meta_analysis(
    federation: Federation,
    estimate: float,
    std_err: float,
    *,
    model: Model = "DL",
    hartung_knapp: bool = False,
    release: bool = False,
    alpha: float = 0.05,
) -> MetaResult:
    """Combine the sites' own estimates.

    Parameters
    ----------
    federation
        The session.
    estimate, std_err
        This site's, such as a log odds ratio from its rows alone.
    model
        ``"fixed"``: one effect, weights 1/se². ``"DL"``, ``"ML"``, ``"REML"``: effects that vary between
        sites with a variance τ², estimated as DerSimonian and Laird did, or by maximum or restricted maximum
        likelihood.
    hartung_knapp
        Hartung and Knapp's standard error, with Student's t; for effects that vary.
    release
        Tell all sites each site's estimate and standard error. Otherwise they stay hidden, and the
        combination is computed on shares, among three sites or more.
    alpha
        Intervals have level 1 − alpha.

    Returns
    -------
    MetaResult
        Estimate, standard error, p-value, interval; Q, τ², I²; if released, the sites' estimates and a forest
        plot.

    Raises
    ------
    DataError
        The estimate is not finite, the standard error not positive, or an option does not exist.
    RemoteError
        The same at another site.
    PolicyError
        Hidden estimates of two sites: each would learn the other's.
    EstimationError
        The likelihood has no clear maximum.

    Notes
    -----
    **Leakage.** With `release` every site learns each site's estimate and standard error. Otherwise it learns
    the combined estimate and its variance, Q, and for effects that vary τ² and I², and how many steps these
    took; the steps themselves stay shared. **Of few sites these tell much:** a site that subtracts its own is
    left with four equations or two for the numbers of the others. A coalition of t sites learns as much of
    the others.

    Cost: 2 rounds if released. On shares of three sites 225 for ``"fixed"``, 450 for ``"DL"``, and for
    ``"ML"`` and ``"REML"`` 520 and 140 a step, of which there are 3 to 8 as a rule; of more sites more.

    Examples
    --------
    >>> fs.meta_analysis(federation, fit.params["arm"], fit.bse["arm"]).conf_int()  # doctest: +SKIP
    """
    declared = RELEASED if release else ITERATED if model in ("ML", "REML") else DECLARATION
    with federation.analysis(declared, None if release else "result") as run:

        def local() -> Mapping[str, Any]:
            _check(estimate, std_err, model, hartung_knapp, alpha)
            call = f"model={model!r}, hartung_knapp={hartung_knapp!r}, alpha={alpha!r}"
            return {"call": call, "numbers": [float(estimate), float(std_err)] if release else []}

        told = run.agree("estimates" if release else "call", local, max_bytes=1 << 10)
        check_same_call(told, federation.site)
        sites = None
        if release:
            sites = pd.DataFrame(
                [_numbers(site, its.get("numbers")) for site, its in told.items()],
                index=pd.Index(list(told), name="site"),
                columns=["estimate", "std_err"],
            )
            own = Estimates.released(*sites.to_numpy(float).T)
            tau2 = between(own, model, tolerance=_CONVERGED, decide=lambda is_small, _: bool(is_small[0]))
            combined = np.concatenate(pool(own, tau2, varies=model != "fixed", robust=hartung_knapp))
        else:
            combined = _on_shares(run, float(estimate), float(std_err), model, hartung_knapp)
        return _result(run, combined, sites, model, hartung_knapp, alpha, len(told))


def combine_pvalues(
    federation: Federation,
    pvalue: float,
    *,
    method: Combination = "fisher",
    weight: float = 1.0,
    disclose: Disclose = "result",
) -> CombinedPvalues:
    """Combine independent p-values of the sites, which stay hidden.

    Parameters
    ----------
    federation
        The session.
    pvalue
        This site's.
    method
        ``"fisher"``: −2 Σ log p. ``"stouffer"``: weighted sum of normal quantiles of one-sided p-values.
    weight
        This site's weight in Stouffer's method, such as the root of its number of rows.
    disclose
        Either mode opens the same.

    Returns
    -------
    CombinedPvalues
        ``statistic, pvalue``, as of `scipy.stats.combine_pvalues`.

    Raises
    ------
    DataError
        The p-value does not lie between 0 and 1, the weight is not positive, or the method does not exist.
    RemoteError
        The same at another site.

    Notes
    -----
    **Leakage.** Every site learns the sum that is the statistic; for Stouffer's method also Σ w². A coalition
    of all but one site learns the last one's p-value.

    Cost: four rounds.
    """
    with federation.analysis(COMBINED, disclose) as run:

        def local() -> Mapping[str, Any]:
            if method not in get_args(Combination):
                raise DataError(f"method must be one of {', '.join(get_args(Combination))}, not {method!r}")
            _check_numbers(pvalue=pvalue, weight=weight)
            if not 0 < pvalue <= 1 or (method == "stouffer" and pvalue == 1):
                raise DataError("pvalue lies above 0 and up to 1, and below 1 for Stouffer's method")
            if not 0 < weight < LARGEST:
                raise DataError("weight is a positive number")
            return {"call": f"method={method!r}"}

        told = run.agree("call", local, max_bytes=1 << 10)
        check_same_call(told, federation.site)
        if method == "fisher":
            [logs] = run.sum("sums", np.array([math.log(pvalue)]))
            statistic = float(-2 * logs)
            combined = float(stats.chi2.sf(statistic, 2 * len(told)))
        else:
            scores, squares = run.sum("sums", np.array([weight * stats.norm.isf(pvalue), weight**2]))
            statistic = float(scores / math.sqrt(squares))
            combined = float(stats.norm.sf(statistic))
        return CombinedPvalues(**run.finish(), method=method, statistic=statistic, pvalue=combined)


# --- The formulas, of released numbers or of shares ---------------------------------------------------


@dataclass(frozen=True, eq=False, repr=False)
class Estimates:
    """The sites' estimates, for sums over pairs of sites: however much these differ, nothing cancels.

    Attributes
    ----------
    y, v
        Estimates and their variances.
    beyond
        Estimates less the first one.
    apart
        Squared differences of the estimates of each pair.
    """

    y: Any
    v: Any
    beyond: Any
    apart: Any

    @classmethod
    def released(cls, y: Array, std_err: Array) -> Estimates:
        """Return those of released numbers."""
        first, second = _pairs(len(y))
        return cls(y, std_err**2, y - y[0], (y[first] - y[second]) ** 2)

    @classmethod
    def hidden(cls, numbers: LongArray) -> Estimates:
        """Return those of shared estimates and variances, shape ``(sites, 2)``; differences are exact."""
        y, v = numbers[:, 0], numbers[:, 1]
        k = len(y)
        first, second = _pairs(k)
        found = floating(join_long([y, v, y - y[:1], y[first] - y[second]]))
        return cls(found[:k], found[k : 2 * k], found[2 * k : 3 * k], found[3 * k :] * found[3 * k :])

    def __len__(self) -> int:
        return int(self.y.shape[0])


def pool(own: Estimates, tau2: Any, *, varies: bool, robust: bool) -> list[Any]:
    """Return estimate, its variance, Q, τ² and I² as arrays of one number.

    Parameters
    ----------
    own
        The sites' estimates.
    tau2
        Variance between sites, one number.
    varies
        Whether effects vary between sites.
    robust
        Whether the variance is Hartung and Knapp's.
    """
    k = len(own)
    w = 1.0 / own.v
    u = 1.0 / (own.v + tau2) if varies else w
    weight, total, weighted = _totals(w, u, u * own.y)
    of_w, of_u = _of_pairs(w), _of_pairs(u)
    pairs, squares, spread = _totals(of_w, of_w * own.apart, of_u * own.apart)
    variance = 1.0 / total
    if robust:
        variance = spread * variance * variance * (1.0 / (k - 1))
    # Higgins and Thompson's I², with the typical variance within sites.
    typical = (weight * (0.5 * (k - 1))) / pairs
    return [weighted / total, variance, squares / weight, tau2, tau2 / (tau2 + typical)]


def moments(own: Estimates) -> Any:
    """Return DerSimonian and Laird's τ²."""
    w = 1.0 / own.v
    of_w = _of_pairs(w)
    [weight] = _totals(w)
    pairs, squares = _totals(of_w, of_w * own.apart)
    return maximum((squares - (len(own) - 1.0) * weight) / (2.0 * pairs), 0.0 * weight)


def _pairs(k: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the first and the second of each pair of k sites."""
    first, second = np.triu_indices(k, 1)
    return first, second


def _of_pairs(w: Any) -> Any:
    """Return the products of the weights of each pair."""
    first, second = _pairs(w.shape[0])
    return w[first] * w[second]


def _totals(*terms: Any) -> list[Any]:
    """Return sums over sites, or over pairs, as arrays of one number; on shares all at once."""
    if isinstance(terms[0], np.ndarray):
        return [term.sum().reshape(1) for term in terms]
    total = stack(terms).sum(axis=1)
    return [total[number : number + 1] for number in range(len(terms))]


def between(own: Estimates, model: Model, *, tolerance: float, decide: Callable[[Any, int], bool]) -> Any:
    """Return τ², one number.

    Parameters
    ----------
    own
        The sites' estimates.
    model
        How it is estimated; 0 for a fixed effect.
    tolerance
        How small the last step is, see `likeliest`.
    decide
        Tells whether a condition holds, given the number of the step.

    Raises
    ------
    EstimationError
        Steps do not become small.
    """
    if model == "fixed":
        return 0.0 * own.v[:1]
    tau2 = moments(own)
    if model == "DL":
        return tau2
    # In units of the harmonic mean of variances.
    [weight] = _totals(1.0 / own.v)
    scale = weight * (1.0 / len(own))
    found = likeliest(
        own.beyond * sqrt(scale),
        own.v * scale,
        tau2 * scale,
        restricted=model == "REML",
        tolerance=tolerance,
        decide=decide,
    )
    if found is None:
        raise EstimationError(f"the likelihood has no clear maximum: use model='DL' in place of {model!r}")
    return found / scale


def _on_shares(run: Analysis, estimate: float, std_err: float, model: Model, robust: bool) -> Array:
    """Combine hidden estimates."""

    def decide(is_small: SecretArray, number: int) -> bool:
        return bool(run.reveal({"converged": is_small}, part=number)["converged"][0])

    with run.on_shares() as engine:
        numbers = np.array([estimate, std_err**2])
        own = Estimates.hidden(share_long(engine, numbers, bound=LARGEST**2, fraction=FRACTION))
        tau2 = between(own, model, tolerance=_CONVERGED_ON_SHARES, decide=decide)
        combined = concatenate(pool(own, tau2, varies=model != "fixed", robust=robust))
    return np.asarray(run.reveal({"combined": combined})["combined"])


# --- Input and results --------------------------------------------------------------------------------


def _check(estimate: float, std_err: float, model: str, robust: bool, alpha: float) -> None:
    _check_numbers(estimate=estimate, std_err=std_err)
    if model not in get_args(Model):
        raise DataError(f"model must be one of {', '.join(get_args(Model))}, not {model!r}")
    if robust and model == "fixed":
        raise DataError("hartung_knapp is for effects that vary: use model='REML' or 'DL'")
    if not 0 < alpha < 1:
        raise DataError("alpha lies between 0 and 1")
    if not abs(float(estimate)) < LARGEST:
        raise DataError("this site's estimate is not a finite number: fit the model to its rows again")
    if not SMALLEST < float(std_err) < LARGEST:
        raise DataError("this site's standard error is not a positive finite number")


def _check_numbers(**given: object) -> None:
    """Refuse what is no number, such as None from a fit that failed at this site alone."""
    for name, value in given.items():
        if not isinstance(value, (int, float, np.number)):
            raise DataError(f"{name} is a number, and this site's is of type {type(value).__name__}")


def _numbers(site: str, told: Any) -> list[float]:
    """Return what a site released, or refuse it."""
    match told:
        case [float() as estimate, float() as std_err] if math.isfinite(estimate) and 0 < std_err < math.inf:
            return [estimate, std_err]
    raise ProtocolError(f"site {site} released no estimate and standard error", site=site)


def _result(
    run: Analysis,
    combined: Array,
    sites: pd.DataFrame | None,
    model: Model,
    robust: bool,
    alpha: float,
    k: int,
) -> MetaResult:
    mean, variance, Q, tau2, I2 = combined.tolist()
    if sites is not None:
        weights = 1 / (sites["std_err"] ** 2 + tau2)
        sites = sites.assign(weight=weights / weights.sum())
    return MetaResult(
        **run.finish(),
        model=model,
        hartung_knapp=robust,
        alpha=alpha,
        estimate=mean,
        std_err=math.sqrt(variance),
        Q=Q,
        tau2=tau2,
        I2=I2 if model != "fixed" else max(0.0, (Q - k + 1) / Q) if Q > 0 else 0.0,
        k=k,
        estimates=sites,
    )


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class MetaResult(Result):
    """A meta-analysis; the same at every site.

    Attributes
    ----------
    model, hartung_knapp, alpha
        How the estimates were combined.
    estimate, std_err
        The combined effect.
    Q
        Cochran's statistic of heterogeneity.
    tau2
        Variance of the effects between sites; 0 for a fixed effect.
    I2
        Share of the variation that is between sites, from τ², or from Q for a fixed effect.
    k
        How many sites.
    estimates
        The sites' ``estimate, std_err, weight``; None unless released.
    """

    model: Model
    hartung_knapp: bool
    alpha: float
    estimate: float
    std_err: float
    Q: float
    tau2: float
    I2: float
    k: int
    estimates: pd.DataFrame | None = field(repr=False)

    @property
    def statistic(self) -> float:
        """Estimate divided by its standard error, which Hartung and Knapp's is 0 for equal estimates."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(np.float64(self.estimate) / self.std_err)

    @property
    def _reference(self) -> Any:
        return stats.t(self.k - 1) if self.hartung_knapp else stats.norm

    @property
    def pvalue(self) -> float:
        """Two-sided p-value that the effect is 0."""
        return float(2 * self._reference.sf(abs(self.statistic)))

    @property
    def Q_pvalue(self) -> float:  # noqa: N802  (Cochran's letter)
        """p-value that effects do not vary."""
        return float(stats.chi2.sf(self.Q, self.k - 1))

    def conf_int(self) -> tuple[float, float]:
        """Return the confidence interval of the effect."""
        width = float(self._reference.isf(self.alpha / 2)) * self.std_err
        return self.estimate - width, self.estimate + width

    def prediction_interval(self) -> tuple[float, float]:
        """Return the interval in which the effect at another site is expected."""
        width = float(self._reference.isf(self.alpha / 2)) * math.hypot(self.std_err, math.sqrt(self.tau2))
        return self.estimate - width, self.estimate + width

    def to_frame(self) -> pd.DataFrame:
        """Return ``estimate, std_err, lower, upper, weight`` of released sites, and of all combined."""
        width = float(stats.norm.isf(self.alpha / 2))
        lower, upper = self.conf_int()
        combined = pd.DataFrame(
            [[self.estimate, self.std_err, lower, upper, 1.0]],
            index=pd.Index([f"combined ({self.model})"], name="site"),
            columns=["estimate", "std_err", "lower", "upper", "weight"],
        )
        if self.estimates is None:
            return combined
        sites = self.estimates.assign(
            lower=self.estimates["estimate"] - width * self.estimates["std_err"],
            upper=self.estimates["estimate"] + width * self.estimates["std_err"],
        )
        return pd.concat([sites[combined.columns], combined])

    def summary(self) -> str:
        """Return the meta-analysis as text."""
        pairs: list[tuple[str, object]] = [
            ("Model", self.model + (", Hartung–Knapp" if self.hartung_knapp else "")),
            ("Sites", self.k),
            ("P", self.pvalue),
            ("Q", self.Q),
            ("P(Q)", self.Q_pvalue),
            ("τ²", self.tau2),
            ("I²", self.I2),
        ]
        lines = [f"Meta-analysis of {self.k} sites", "", *_table.pair_lines(pairs, digits=5)]
        return "\n".join(
            [*lines, "", *_table.frame_lines(self.to_frame(), digits=5), "", f"Cost: {self.cost}"]
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw a forest plot: the sites' estimates with their intervals, and the combined one as a diamond.

        Raises
        ------
        ValueError
            The sites' estimates were not released.
        ImportError
            matplotlib is not installed.
        """
        if self.estimates is None:
            raise ValueError("a forest plot shows the sites' estimates: use release=True")
        import matplotlib.pyplot as plt

        if ax is None:
            _, ax = plt.subplots()
        table = self.to_frame()
        place = np.arange(len(table))[::-1]
        sites, combined = table.iloc[:-1], table.iloc[-1]
        ax.hlines(place[:-1], sites["lower"], sites["upper"], color="C0")
        ax.scatter(sites["estimate"], place[:-1], s=20 + 180 * sites["weight"], marker="s", color="C0")
        x = [combined["lower"], combined["estimate"], combined["upper"], combined["estimate"]]
        ax.fill(x, [0, 0.25, 0, -0.25], color="C3")
        ax.axvline(combined["estimate"], color="C3", linewidth=0.8, linestyle=":")
        ax.axvline(0.0, color="0.6", linewidth=0.8)
        ax.set_yticks(place, [str(name) for name in table.index])
        ax.set_xlabel("estimate")
        return ax


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class CombinedPvalues(Result):
    """Combined p-values; the same at every site.

    Attributes
    ----------
    method, statistic, pvalue
        As of `scipy.stats.combine_pvalues`.
    """

    method: Combination
    statistic: float
    pvalue: float

    def to_frame(self) -> pd.DataFrame:
        """Return ``statistic, pvalue``."""
        row = {"statistic": self.statistic, "pvalue": self.pvalue}
        return pd.DataFrame([row], index=pd.Index([self.method], name="method"))

    def summary(self) -> str:
        """Return the combination as text."""
        lines = [f"Combined p-values of {len(self.sites)} sites", "", *_table.frame_lines(self.to_frame())]
        return "\n".join([*lines, "", f"Cost: {self.cost}"])
