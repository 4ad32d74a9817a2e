"""All sites of a federation in one process: for trying a script, for tests, for teaching."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from fedstats.errors import RemoteError, TransportError
from fedstats.federation import Federation
from fedstats.policy import FederationPolicy, SitePolicy
from transport.base import DEFAULT_TIMEOUT
from transport.errors import PeerAborted
from transport.memory import LinkModel, memory_meshes, run_peers

Data = TypeVar("Data")
Returned = TypeVar("Returned")


def simulate(
    program: Callable[[Federation, Data], Returned],
    data: Sequence[Data],
    *,
    names: Sequence[str] | None = None,
    policy: SitePolicy | None = None,
    shared: FederationPolicy | None = None,
    link: LinkModel | None = None,
    timeout: float = DEFAULT_TIMEOUT,
) -> list[Returned]:
    """Run a program at several simulated sites, each a thread of this process.

    The protocols are the real ones; only the network is not. Results are bit for bit those of as
    many processes with the same names.

    Parameters
    ----------
    program
        What every site runs, called with its `Federation` and its own data.
    data
        Each site's data.
    names
        The sites' names; ``site1``, ``site2``, … by default.
    policy
        The rules of every simulated site.
    shared
        The rules that all sites would have signed.
    link
        A network to imitate, such as ``LinkModel(latency=0.02, bandwidth=12.5e6)``.
    timeout
        Seconds to wait for any one message.

    Returns
    -------
    list
        What the program returned at each site, in the order of `data`.

    Raises
    ------
    Exception
        What ended the run: the error of the site where it began, with a note that names the site.
    """
    if names is None:
        digits = len(str(len(data)))
        names = [f"site{number:0{digits}d}" for number in range(1, len(data) + 1)]
    if len(names) != len(data):
        raise ValueError(f"{len(names)} names for the data of {len(data)} sites")
    meshes = memory_meshes(names, timeout=timeout, model=link)
    data_of = dict(zip(names, data, strict=True))

    def run(site: str) -> Returned:
        with Federation(meshes[site], policy=policy, shared=shared) as federation:
            return program(federation, data_of[site])

    returned = run_peers({site: partial(run, site) for site in names}, is_echo=_is_echo)
    return [returned[site] for site in names]


def _is_echo(error: BaseException) -> bool:
    """Tell whether an error only reports that another site failed."""
    return isinstance(error, RemoteError) or (
        isinstance(error, TransportError) and isinstance(error.__cause__, PeerAborted)
    )
