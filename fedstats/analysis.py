"""The one gate: every number or name that leaves a site leaves through an `Analysis`.

An analysis function opens one at its start and closes it at its end. It first calls `agree`, where each site
checks its own input and its own policy, and where all sites stop together if one of them must. Then it calls
`sum`, which opens sums over all sites and nothing else; or it computes on shares of such sums, by its
`engine`, and calls `reveal` for what comes out; or it calls `release`, which opens sums with noise, or
`choose`, which opens the places of the largest sums, chosen with noise. Either way only what the analysis has
declared for the disclosure mode passes, and all that passes is recorded.

Rules that a site decides alone are checked in `agree` (`fedstats._rules`). Rules on the rows of all sites
together are decided on shares, before anything else is opened.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from fractions import Fraction
from functools import partial
from math import prod
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from fedstats._joint import too_few, too_large_a_row, too_large_a_site
from fedstats._noised import Loss, Noisy
from fedstats._rules import Rules
from fedstats.disclosure import Declaration, Leakage, Reveal
from fedstats.errors import DataError, FedStatsError, PolicyError, RemoteError, translated
from fedstats.policy import Demands
from fedstats.results import Cost, Provenance
from protocols import choice, codec
from protocols.compare import negative
from protocols.confirm import confirm
from protocols.engine import Engine
from protocols.errors import CodecError
from protocols.floating import SecretFloat, floating
from protocols.psi.intersection import Universe, universe
from protocols.publish import MAX_BYTES, publish
from protocols.reveal import reveal
from protocols.ring import Ring
from protocols.secret import SecretArray
from protocols.sum import secure_sum
from transport.errors import AbortCode

if TYPE_CHECKING:
    from fedstats.cohort import Cohort
    from fedstats.federation import Federation

_CODES = frozenset(map(int, AbortCode))
#: What is opened of every analysis where a site's rule asks for it. Which sites have one is told as they
#: agree, when the log is brought to the disk: it says of all that they may be opened.
_DECISIONS = {
    "min_pooled_rows": "whether there are fewer rows over all sites than a site's rule asks for",
    "max_parameters": "whether there are more parameters than a site's rule allows",
    "max_site_share": "whether a site has more of the rows of all than a site's rule allows",
    "max_row_share": "for each column, whether a row makes up more of it than a site's rule allows",
}


class Analysis:
    """One call of an analysis function; made by `Federation.analysis`.

    Parameters
    ----------
    federation
        The session it runs in.
    declaration
        What it may reveal.
    disclose
        The disclosure mode that the caller asked for; None for what opens nothing.
    label
        Its name and its number in the session, the same at every site.
    """

    def __init__(
        self, federation: Federation, declaration: Declaration, disclose: str | None, label: str
    ) -> None:
        self.federation = federation
        self.declaration = declaration
        self.disclose = disclose
        self._label = label
        self._named = {"analysis": declaration.name, "call": label, "disclose": disclose}
        self._reveals: list[Reveal] = []
        self._agreed = False
        self._call: str | None = None
        self._engine: Engine | None = None
        self._decided: set[str] = set()
        self._joins = False
        self._loss = Loss(federation, label)
        self._passed: set[str] = set()

    def __enter__(self) -> Self:
        self._started = time.perf_counter()
        self._traffic = self.federation.traffic.copy()
        self._declared = {} if self.disclose is None else dict(self.declaration.opened(self.disclose))
        self._rules = Rules(self.federation, self.declaration.name, self.disclose)
        self._began = datetime.now(UTC)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.federation.record(self._reveals)
        self._loss.close()
        if isinstance(error, PolicyError | DataError | RemoteError):
            # What a DataError says may hold counts of rows.
            why = str(error) if isinstance(error, PolicyError) else None
            self.federation.log("refusal", **self._named, error=type(error).__name__, message=why)
        outcome = "done" if kind is None else kind.__name__
        began = self._began.isoformat(timespec="milliseconds")
        self.federation.log("analysis.end", **self._named, began=began, outcome=outcome)

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of all sites of the session."""
        return self.federation.sites

    @property
    def call(self) -> str | None:
        """What all sites have agreed to ask for, as text."""
        return self._call

    def agree(
        self, label: str, local: Callable[[], Mapping[str, Any]], *, max_bytes: int = MAX_BYTES
    ) -> dict[str, Any]:
        """Let every site check its own input, and tell the others its metadata or that it refuses.

        Parameters
        ----------
        label
            A label that the declaration lists as published.
        local
            Checks this site's input and returns its metadata: names, types, levels; never rows or
            statistics. May raise DataError or PolicyError.
        max_bytes
            Longest message that is accepted from a site.

        Returns
        -------
        dict
            For each site, what its `local` returned.

        Raises
        ------
        DataError, PolicyError
            As `local` raised it here. The other sites raise RemoteError at the same step.
        RemoteError
            Another site refused, naming it and the class of its error.
        """
        meaning = self.declaration.published[label]
        refusal: DataError | PolicyError | None = None
        message: dict[str, Any]
        try:
            self._rules.check_call()
            message = {"metadata": dict(local())}
            self._rules.check_input(label)
            if demands := self._rules.to_tell():
                message["demands"] = demands
        except (DataError, PolicyError) as error:
            refusal = error
            message = {"refused": int(error.code)}
        if refusal is None:
            size = len(codec.encode(message))
            self.federation.log(
                "agree",
                **self._named,
                label=label,
                columns=self._rules.columns,
                bytes=size,
                may_open=sorted({*self._declared, *(_DECISIONS if self._rules.count_rows else ())}),
            )
            self._reveals.append(Reveal(label, "published", size, meaning))
        try:
            # What may be opened is in the log before all have agreed, which comes before any opening. What
            # is told is there too before it is used: it may be a site's estimate.
            with self.federation.log_syncing(), translated():
                replies: Mapping[str, Any] = publish(
                    self.federation.party, self.step(label), message, max_bytes=max_bytes
                )
                codes = {site: _refusal(site, reply) for site, reply in replies.items()}
        except FedStatsError:
            # A site that has read our refusal may stop the session before all have answered us.
            if refusal is not None:
                raise refusal from None
            raise
        others = {site: code for site, code in codes.items() if code and site != self.federation.site}
        said = ", ".join(f"site {site} ({code.name.lower()} error)" for site, code in others.items() if code)
        if refusal is not None:
            if others:
                refusal.add_note(f"{self.declaration.name} was refused by {said} too")
            raise refusal
        if others:
            raise RemoteError(
                f"{self.declaration.name} was refused by {said}: nothing was opened; "
                "the message at that site says what to do",
                site=next(iter(others)),
            )
        self._rules.agreed({site: Demands(**reply.get("demands", {})) for site, reply in replies.items()})
        self._agreed = True
        self._decide_rows()
        told = {site: reply["metadata"] for site, reply in replies.items()}
        call = told[self.federation.site].get("call")
        self._call = call if isinstance(call, str) else self._call
        return told

    def joins_rows(self, keys: Sequence[bytes] | None = None) -> None:
        """Say that rows of several sites are those of one patient; called by what `agree` is given.

        Rules on the rows of all sites then concern the patients that are analysed: `decide_joint`. Where rows
        are linked, `keys` are their identifiers: a site's rule `min_difference` looks at them.
        """
        self._joins = True
        if keys is not None:
            self._rules.links(keys)

    def decide_joint(self, patients: SecretArray, parameters: int = 0) -> None:
        """Refuse, at every site alike, what a site's rule on the number of patients forbids.

        Parameters
        ----------
        patients
            The number of those that are analysed, secret.
        parameters
            How many parameters a model has, if it is one.
        """
        demands = self._rules.demands
        if self._is_due("max_site_share") or self._is_due("max_row_share"):
            rule = "max_site_share" if self._is_due("max_site_share") else "max_row_share"
            raise self._rules.refusal(rule, "cannot be applied to linked columns: ask this site to change it")
        least = {"min_pooled_rows": demands.min_pooled_rows}
        if parameters and demands.holds("max_parameters"):
            least["max_parameters"] = math.ceil(parameters / demands.max_parameters)
        for rule, number in least.items():
            if number and self._decide(rule, partial(_is_below, patients, number)).any():
                raise self._rules.refusal(rule, "asks for more patients that all sites have: link more")

    def link(self, label: str, items: Sequence[bytes]) -> Universe:
        """Agree on random identifiers for the items of all sites, and open how many are common.

        **Leakage** and **Cost**: see `protocols.psi.intersection.universe`.
        """
        self._record(label, "result", 2 ** len(self.sites))  # of each selection of sites, and of all together
        with translated():
            return universe(self.federation.party, self.step(label), items)

    def takes(self, cohort: Cohort, positions: NDArray[np.intp]) -> None:
        """Tell the rules which rows of this site take part, if not all; called by what `agree` is given."""
        self._rules.takes(cohort, positions)

    def check_parameters(self, count: Callable[[], int]) -> None:
        """Refuse, at every site alike, a model with more parameters than a site's rule allows.

        Parameters
        ----------
        count
            Returns how many there are, the same at every site; called if there is such a rule, stricter than
            the default: others are for `check_rows`.

        Raises
        ------
        PolicyError
            There are more than the part `max_parameters` of the rows of all sites.
        """
        part = self._rules.demands.max_parameters
        if self._rules.demands.holds("max_parameters"):
            parameters = count()
            least = math.ceil(parameters / part)
            if self._decide("max_parameters", lambda engine: too_few(engine, self._rows(), least)).any():
                raise self._rules.refusal(
                    "max_parameters",
                    f"allows fewer than {parameters} parameters for so many rows over all sites: leave out "
                    "terms, merge rare levels, or use more rows",
                )

    def check_rows(self, rows: int, parameters: int) -> None:
        """Refuse, at every site alike, a model with more parameters than a site's rule allows.

        Called as soon as the number of rows of all sites is open.

        Raises
        ------
        PolicyError
            There are more than the part `max_parameters` of them.
        """
        if parameters > self._rules.demands.max_parameters * rows:
            raise self._rules.refusal(
                "max_parameters",
                f"allows fewer than {parameters} parameters for {rows} rows over all sites: leave out terms, "
                "merge rare levels, use more rows, or let these sites' stewards change [policy] in site.toml",
            )

    def _decide_rows(self) -> None:
        """Refuse, at every site alike, what a site's rule on the rows of all forbids; each is asked once."""
        if self._rules.rows is None or self._joins:
            return
        demands = self._rules.demands
        if (
            self._is_due("min_pooled_rows")
            and self._decide(
                "min_pooled_rows", lambda engine: too_few(engine, self._rows(), demands.min_pooled_rows)
            ).any()
        ):
            raise self._rules.refusal(
                "min_pooled_rows",
                "asks for more rows over all sites: use more rows, or columns with fewer gaps",
            )
        if (
            self._is_due("max_site_share")
            and self._decide(
                "max_site_share",
                lambda engine: too_large_a_site(engine, self._rows(), demands.max_site_share),
            ).any()
        ):
            raise self._rules.refusal(
                "max_site_share",
                "is exceeded, as one site has more of the rows of all: use more rows of the others",
            )
        if self._is_due("max_row_share") and (numbers := self._rules.numbers()):
            columns = list(numbers)
            exceeded = self._decide(
                "max_row_share",
                lambda engine: too_large_a_row(engine, list(numbers.values()), demands.max_row_share),
            )
            if exceeded.any():
                names = ", ".join(repr(columns[place]) for place in np.flatnonzero(exceeded))
                raise self._rules.refusal(
                    "max_row_share",
                    f"is exceeded, as one row makes up more of {names}: take logarithms in the table, or "
                    "leave out such rows",
                )

    def _rows(self) -> int:
        return self._rules.rows or 0

    def _is_due(self, rule: str) -> bool:
        return rule not in self._decided and self._rules.demands.holds(rule)

    def _decide(self, rule: str, decision: Callable[[Engine], SecretArray]) -> NDArray[Any]:
        """Compute on shares whether a rule is broken, and open that alone."""
        self._decided.add(rule)
        self._declared[rule] = _DECISIONS[rule]
        with self.on_shares() as engine:
            broken = decision(engine)
        opened = self.reveal({rule: broken})[rule]
        del self._declared[rule]
        return opened

    def sum(
        self, label: str, values: NDArray[Any], *, ring: Ring | None = None, part: int | None = None
    ) -> NDArray[Any]:
        """Open the sum over all sites of an array.

        Parameters
        ----------
        label
            A label that the declaration lists for this disclosure mode.
        values
            This site's contribution: int64 or float64, the same shape at every site.
        ring
            How floats are summed, see `protocols.ring`: exactly by default.
        part
            Number of the block, where one quantity is opened in several.

        Returns
        -------
        numpy.ndarray
            The sum, bit for bit the same at every site.
        """
        array = np.asarray(values)
        self._record(label, "pooled", array.size)
        step = self.step(label if part is None else f"{label} {part}")
        with translated():
            return secure_sum(self.federation.party, step, array, ring=ring)

    def reserve(self, rho: Fraction, *sources: Path | None, on_shares: bool = False) -> None:
        """Set aside what the analysis will cost of this site's budget; called by what `agree` is given.

        Parameters
        ----------
        rho
            The cost.
        sources
            The files that its rows come from, see `Cohort.source`: their budgets pay.
        on_shares
            Whether it calls `choose`.

        Raises
        ------
        BudgetError
            There is less left.
        PolicyError
            This site asks for noise against more colluders than the sites draw it against; or the sites ask
            for more than shares hide from.
        """
        self._loss.reserve(rho, sources, on_shares=on_shares)

    def release(
        self,
        label: str,
        values: NDArray[Any],
        *,
        squared_sensitivity: Fraction | int,
        rho: Fraction,
        part: int | None = None,
    ) -> Noisy:
        """Open the sum over all sites of an array of integers, with noise.

        Parameters
        ----------
        label
            A label that the declaration lists as noised.
        values
            This site's contribution: int64, the same shape at every site, a sum over its rows.
        squared_sensitivity
            The largest squared Euclidean norm of what one row contributes to `values`, exactly.
        rho
            What it costs, in ρ of zero-concentrated differential privacy for adding or removing a row; no
            more than is left of what was reserved.
        part
            Number of the block or iteration, where one quantity is opened in several.

        Raises
        ------
        DataError
            It costs so little that integers do not hold the noise; at every site alike, before it is drawn.

        Notes
        -----
        **Leakage.** The sum with noise of variance Δ²/(2ρ) and more, whichever sites pool theirs; see
        `protocols.noise`.

        **Cost.** As for `sum`; before the first, two rounds in which sites that keep a log countersign it.
        """
        self._record(label, "noised", values.size, rho)
        self._loss.witness()
        summand = self._loss.noise(values, Fraction(squared_sensitivity), rho)
        step = self.step(label if part is None else f"{label} {part}")
        with translated():
            return summand.opened(secure_sum(self.federation.party, step, summand.values))

    def choose(
        self, label: str, values: NDArray[Any], k: int, *, sensitivity: int, rho: Fraction
    ) -> NDArray[np.int64]:
        """Open which sums over all sites are the largest in magnitude, with noise; no sum is opened.

        Parameters
        ----------
        label
            A label that the declaration lists as noised.
        values
            Shape ``(size,)``, int64: this site's contribution, a sum over its rows.
        k
            How many of the sums, `choice.MOST` at most.
        sensitivity
            The largest magnitude of what one row contributes to any of `values`, exactly.
        rho
            What it costs, as for `release`.

        Returns
        -------
        numpy.ndarray
            The places of the k largest among the sums, the largest first.

        Notes
        -----
        **Leakage** and **Cost**: see `protocols.choice`.
        """
        self._record(label, "noised", k, rho)
        self._loss.witness()
        weight = self._loss.weight(sensitivity, rho, k)
        with self.on_shares() as engine:
            places = choice.largest(engine, values, k, weight)
            self._passed.add(label)  # recorded above, with what it costs
            return reveal(engine, {label: places})[label]

    @property
    def engine(self) -> Engine:
        """What computes on shares. Making it takes three sites, and one round; or a dishonest majority."""
        if self._engine is None:
            triples = self.federation.triples
            self._engine = Engine(
                self.federation.party, self.step("engine"), gate=self._admit, triples=triples
            )
        return self._engine

    @contextmanager
    def on_shares(self) -> Iterator[Engine]:
        """Compute on shares: the engine, in a block that raises errors of protocols as those of fedstats."""
        with translated():
            yield self.engine

    def reveal(
        self,
        results: Mapping[str, SecretArray | SecretFloat],
        *,
        part: int | None = None,
        digits: int | Mapping[str, int] = 30,
    ) -> dict[str, NDArray[Any]]:
        """Open results that were computed on shares, all in one go.

        Parameters
        ----------
        results
            Arrays by labels that the declaration lists for this disclosure mode.
        part
            Number of the block or iteration, where one quantity is opened in several.
        digits
            Bits to which the mantissas of `SecretFloat` are rounded, by label if they differ; fewer where a
            site's `max_digits` asks for it.

        Returns
        -------
        dict
            Numbers by label, bit for bit the same at every site; see `protocols.reveal`.
        """
        suffix = "" if part is None else f"/{part}"
        most = self._rules.demands.bits
        bits = {
            f"{label}{suffix}": min(digits if isinstance(digits, int) else digits[label], most)
            for label in results
        }
        with translated():
            labelled = {f"{label}{suffix}": self._to_round(secret) for label, secret in results.items()}
            opened = reveal(self.engine, labelled, digits=bits)
        return {label: opened[f"{label}{suffix}"] for label in results}

    def _to_round(self, secret: SecretArray | SecretFloat) -> SecretArray | SecretFloat:
        """Return fractions as floats, which are opened to so many digits, where a site's rule says so."""
        if self._rules.demands.max_digits == Demands.max_digits:
            return secret
        return floating(secret) if isinstance(secret, SecretArray) and secret.format.fraction else secret

    def _admit(self, label: str, shape: tuple[int, ...]) -> None:
        """Let a result pass that the engine is about to open; its label may end in the number of a part."""
        if label in self._passed:
            self._passed.remove(label)
            return
        self._record(label.split("/")[0], "result", prod(shape))

    def _record(
        self, label: str, kind: Literal["pooled", "result", "noised"], size: int, rho: Fraction = Fraction(0)
    ) -> None:
        """Let one quantity pass, or refuse it: an analysis opens what it has declared, and once all agree.

        Recorded before it is opened: should that fail on its way, other sites may hold it already.
        """
        # With noise nothing else is opened.
        if label not in self._declared or (kind == "noised") != (label in self.declaration.noised):
            raise RuntimeError(f"{self.declaration.name} does not declare {label!r} for {self.disclose!r}")
        if not self._agreed:
            raise RuntimeError(f"{self.declaration.name} opens {label!r} before the sites have agreed")
        self._rules.check_complete(label)
        of_rows = ("min_pooled_rows", "max_site_share")
        for rule in of_rows:
            # While one of them is decided, another may be due.
            if self._is_due(rule) and not self._joins and label not in of_rows:
                raise self._rules.refusal(
                    rule,
                    "cannot be applied, as this analysis has no table of rows: use another, or ask these "
                    "sites to change it",
                )
        loss = {"rho": str(rho)} if kind == "noised" else {}
        self.federation.log("reveal", **self._named, label=label, kind=kind, size=size, **loss)
        self._reveals.append(Reveal(label, kind, size, self._declared[label], rho))

    def step(self, label: str) -> str:
        """Return the full name of a step, unique in the session and the same at every site."""
        return f"{self._label}.{label}"

    def finish(self) -> dict[str, Any]:
        """Confirm that all sites opened the same values; return the fields that every result has.

        Cost: one round, 32 bytes to each site.
        """
        with translated():
            confirm(self.federation.party, self.step("confirm"))
        spent = self.federation.traffic - self._traffic
        return {
            "sites": self.sites,
            "leakage": Leakage.collect(self._reveals),
            "provenance": Provenance(
                self.declaration.name, self._call, self.disclose, self.federation.records
            ),
            "cost": Cost(
                spent.rounds,
                spent.bytes_sent,
                spent.bytes_received,
                time.perf_counter() - self._started,
            ),
        }


def _is_below(patients: SecretArray, number: int, _: Engine) -> SecretArray:
    return negative(patients.reshape(1) - number)


def _refusal(site: str, reply: Any) -> AbortCode | None:
    """Return the class of error with which a site refused, or None if it agreed."""
    match reply:
        case {"metadata": dict(), **rest} if not rest:
            return None
        case {"metadata": dict(), "demands": demands, **rest} if not rest and Demands.from_wire(demands):
            return None
        # Of one type exactly: comparing a peer's array or truth value with a code is no question to ask.
        case {"refused": code, **rest} if not rest and type(code) is int and code in _CODES:
            return AbortCode(code)
    raise CodecError(
        f"the answer of site {site} is neither metadata nor a refusal: it runs a damaged or hostile version "
        "of fedstats",
        peer=site,
    )
