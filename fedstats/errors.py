"""What an analysis can raise.

::

    FedStatsError
    ├── DataError          this site's input; nothing of it was sent
    ├── RemoteError        another site refused its own input and said so; all sites stopped together
    ├── PolicyError        refused before anything was opened; says which rule
    │   ├── DisclosureError    this analysis does not offer that disclosure mode
    │   └── BudgetError        this site's privacy budget does not suffice
    ├── EstimationError    the pooled data do not determine the estimate
    ├── ProtocolError      a protocol failed: malformed or inconsistent messages
    └── TransportError     the mesh failed: a peer is gone, silent, or not who it must be

Each message says who, what and what to do. It never holds a row, a site's statistic or a key.
The layers below have error trees of their own; `translated` maps them here, the one place.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import protocols.errors
import transport.errors
from transport.errors import AbortCode


class FedStatsError(Exception):
    """Base of everything that fedstats raises on purpose.

    Attributes
    ----------
    code
        What the other sites are told when this error ends the session: its class, nothing more.
    site
        The site that caused it; None where it is this site's own matter or everybody's.
    """

    code = AbortCode.INTERNAL

    def __init__(self, message: str, *, site: str | None = None) -> None:
        super().__init__(message)
        self.site = site


class DataError(FedStatsError):
    """This site's input cannot be used: a file, a column, a formula. Nothing of it was sent."""

    code = AbortCode.DATA


class RemoteError(FedStatsError):
    """Other sites cannot use their own input; every site stopped before anything was opened."""

    code = AbortCode.DATA


class PolicyError(FedStatsError):
    """A rule of this or another site forbids it; nothing was opened."""

    code = AbortCode.POLICY


class DisclosureError(PolicyError):
    """The analysis does not offer the disclosure mode that was asked for."""


class BudgetError(PolicyError):
    """The privacy budget of a site does not suffice; no noise was drawn."""


class EstimationError(FedStatsError):
    """The pooled data do not determine the estimate: a singular design, too few rows."""

    code = AbortCode.ESTIMATION


class ProtocolError(FedStatsError):
    """A protocol failed: a peer's message was malformed, or the sites' results differ."""

    code = AbortCode.PROTOCOL


class TransportError(FedStatsError):
    """The mesh failed. `__cause__` is the precise error, see `transport.errors`."""

    code = AbortCode.TRANSPORT


@contextmanager
def translated() -> Iterator[None]:
    """Raise errors of the lower layers as errors of this one."""
    try:
        yield
    except protocols.errors.RangeError as error:
        raise DataError(str(error)) from error
    except protocols.errors.SingularError as error:
        raise EstimationError(str(error)) from error
    except protocols.errors.ProtocolError as error:
        raise ProtocolError(str(error), site=error.peer) from error
    except transport.errors.PeerAborted as error:
        refused = error.code in (AbortCode.DATA, AbortCode.POLICY)
        raise (RemoteError if refused else TransportError)(str(error), site=error.peer) from error
    except transport.errors.TransportError as error:
        raise TransportError(str(error), site=error.peer) from error
