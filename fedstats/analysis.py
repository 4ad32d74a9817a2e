"""The one gate: every number or name that leaves a site leaves through an `Analysis`.

An analysis function opens one at its start and closes it at its end. It first calls `agree`,
where each site checks its own input and its own policy, and where all sites stop together if one
of them must. Then it calls `sum`, which opens sums over all sites and nothing else; or it computes on shares
of such sums, by its `engine`, and calls `reveal` for what comes out. Either way only what the analysis has
declared for the disclosure mode passes, and all that passes is recorded.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import prod
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from fedstats.disclosure import Declaration, Leakage, Reveal
from fedstats.errors import DataError, FedStatsError, PolicyError, RemoteError, translated
from fedstats.results import Cost
from protocols import codec
from protocols.confirm import confirm
from protocols.engine import Engine
from protocols.errors import CodecError
from protocols.floating import SecretFloat
from protocols.publish import MAX_BYTES, publish
from protocols.reveal import reveal
from protocols.ring import Ring
from protocols.secret import SecretArray
from protocols.sum import secure_sum
from transport.errors import AbortCode

if TYPE_CHECKING:
    from fedstats.federation import Federation

_CODES = frozenset(map(int, AbortCode))


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
        self._reveals: list[Reveal] = []
        self._agreed = False
        self._engine: Engine | None = None

    def __enter__(self) -> Self:
        self._started = time.perf_counter()
        self._traffic = self.federation.traffic.copy()
        self._declared = {} if self.disclose is None else self.declaration.opened(self.disclose)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.federation.record(self._reveals)

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of all sites of the session."""
        return self.federation.sites

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
            self.federation.policy.check(self.declaration.name, self.disclose, len(self.sites))
            message = {"metadata": dict(local())}
        except (DataError, PolicyError) as error:
            refusal = error
            message = {"refused": int(error.code)}
        if refusal is None:
            self._reveals.append(Reveal(label, "published", len(codec.encode(message)), meaning))
        try:
            with translated():
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
        self._agreed = True
        return {site: reply["metadata"] for site, reply in replies.items()}

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

    @property
    def engine(self) -> Engine:
        """What computes on shares. Making it takes three sites, and one round."""
        if self._engine is None:
            self._engine = Engine(self.federation.party, self.step("engine"), gate=self._admit)
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
        digits: int = 30,
    ) -> dict[str, NDArray[Any]]:
        """Open results that were computed on shares, all in one go.

        Parameters
        ----------
        results
            Arrays by labels that the declaration lists for this disclosure mode.
        part
            Number of the block or iteration, where one quantity is opened in several.
        digits
            Bits to which the mantissas of `SecretFloat` are rounded.

        Returns
        -------
        dict
            Numbers by label, bit for bit the same at every site; see `protocols.reveal`.
        """
        suffix = "" if part is None else f"/{part}"
        with translated():
            labelled = {f"{label}{suffix}": secret for label, secret in results.items()}
            opened = reveal(self.engine, labelled, digits=digits)
        return {label: opened[f"{label}{suffix}"] for label in results}

    def _admit(self, label: str, shape: tuple[int, ...]) -> None:
        """Let a result pass that the engine is about to open; its label may end in the number of a part."""
        self._record(label.split("/")[0], "result", prod(shape))

    def _record(self, label: str, kind: Literal["pooled", "result"], size: int) -> None:
        """Let one quantity pass, or refuse it: an analysis opens what it has declared, and once all agree.

        Recorded before it is opened: should that fail on its way, other sites may hold it already.
        """
        if label not in self._declared:
            raise RuntimeError(f"{self.declaration.name} does not declare {label!r} for {self.disclose!r}")
        if not self._agreed:
            raise RuntimeError(f"{self.declaration.name} opens {label!r} before the sites have agreed")
        self._reveals.append(Reveal(label, kind, size, self._declared[label]))

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
            "cost": Cost(
                spent.rounds,
                spent.bytes_sent,
                spent.bytes_received,
                time.perf_counter() - self._started,
            ),
        }


def _refusal(site: str, reply: Any) -> AbortCode | None:
    """Return the class of error with which a site refused, or None if it agreed."""
    match reply:
        case {"metadata": dict(), **rest} if not rest:
            return None
        # Of one type exactly: comparing a peer's array or truth value with a code is no question to ask.
        case {"refused": code, **rest} if not rest and type(code) is int and code in _CODES:
            return AbortCode(code)
    raise CodecError(
        f"the answer of site {site} is neither metadata nor a refusal: it runs a damaged or hostile version "
        "of fedstats",
        peer=site,
    )
