"""The one gate: every number or name that leaves a site leaves through an `Analysis`.

An analysis function opens one at its start and closes it at its end. It first calls `agree`,
where each site checks its own input and its own policy, and where all sites stop together if one
of them must; then it calls `sum`, which opens sums over all sites and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from fedstats.disclosure import Declaration, Leakage, Reveal
from fedstats.errors import DataError, DisclosureError, FedStatsError, PolicyError, RemoteError, translated
from fedstats.results import Cost
from protocols import codec
from protocols.confirm import confirm
from protocols.errors import CodecError
from protocols.publish import MAX_BYTES, publish
from protocols.ring import Ring
from protocols.sum import secure_sum
from transport.errors import AbortCode

if TYPE_CHECKING:
    from fedstats.federation import Federation


class Analysis:
    """One call of an analysis function; made by `Federation.analysis`.

    Parameters
    ----------
    federation
        The session it runs in.
    declaration
        What it may reveal.
    disclose
        The disclosure mode that the caller asked for.
    label
        Its name and its number in the session, the same at every site.
    """

    def __init__(self, federation: Federation, declaration: Declaration, disclose: str, label: str) -> None:
        self.federation = federation
        self.declaration = declaration
        self.disclose = disclose
        self._label = label
        self._reveals: list[Reveal] = []
        self._agreed = False

    def __enter__(self) -> Self:
        self._started = time.perf_counter()
        self._traffic = self.federation.traffic.copy()
        if self.disclose != "aggregate":
            raise DisclosureError(
                f"{self.declaration.name} knows no disclosure mode {self.disclose!r}; it offers 'aggregate'"
            )
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
        if refusal is None:
            self._reveals.append(Reveal(label, "published", len(codec.encode(message)), meaning))
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
        """Open the sum over all sites of an array; the only way in which statistics leave.

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
        meaning = self.declaration.aggregate[label]
        if not self._agreed:
            raise RuntimeError(f"{self.declaration.name} opens {label!r} before the sites have agreed")
        step = self.step(label if part is None else f"{label} {part}")
        with translated():
            total = secure_sum(self.federation.party, step, np.asarray(values), ring=ring)
        self._reveals.append(Reveal(label, "pooled", total.size, meaning))
        return total

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
    if isinstance(reply, dict) and reply.keys() == {"metadata"} and isinstance(reply["metadata"], dict):
        return None
    if isinstance(reply, dict) and reply.keys() == {"refused"} and reply["refused"] in list(AbortCode):
        return AbortCode(reply["refused"])
    raise CodecError("the answer is neither metadata nor a refusal", peer=site)
