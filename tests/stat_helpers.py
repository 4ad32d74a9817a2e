"""Tables, split over sites, and programs run at all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd

import fedstats as fs
from fedstats.cohort import Cohort
from fedstats.policy import SitePolicy

Program = Callable[[Cohort], object]

#: For models of few rows, as of Longley's 16 with 7 parameters.
SATURATED = SitePolicy(max_parameters=1.0)
#: Functions with their disclosure mode.
aggregate = SimpleNamespace(
    describe=partial(fs.describe, disclose="aggregate"), ols=partial(fs.ols, disclose="aggregate")
)


def split(frame: pd.DataFrame, sizes: Sequence[int], seed: int = 0) -> list[pd.DataFrame]:
    """Deal shuffled rows to sites of the given sizes; the last site takes what remains."""
    order = np.random.default_rng(seed).permutation(len(frame))
    return [frame.iloc[part] for part in np.split(order, np.cumsum(sizes))]


def pooled(
    program: Callable[[Cohort], fs.results.Result],
    parts: Sequence[pd.DataFrame],
    policy: SitePolicy | None = None,
    **cohort,
):
    """Run at every site, check that all hold the same bits, and return the result."""
    results = fs.simulate(
        lambda federation, data: program(federation.cohort(data, **cohort)), parts, policy=policy
    )
    for other in results[1:]:
        pd.testing.assert_frame_equal(other.to_frame(), results[0].to_frame(), check_exact=True)
    return results[0]


def refused(
    program: Program, parts: Sequence[object], policy: SitePolicy | None = None, **cohort
) -> list[fs.FedStatsError]:
    """Return the error that each site raises, and check that the session can still be used."""
    sound = pd.DataFrame({"fine": np.arange(10.0)})

    def run(federation: fs.Federation, data: object) -> fs.FedStatsError:
        try:
            program(federation.cohort(data, **cohort))
        except fs.FedStatsError as error:
            assert aggregate.describe(federation.cohort(sound)).to_frame()["count"].item() == 10 * len(parts)
            return error
        raise AssertionError("nothing was refused")

    return fs.simulate(run, parts, policy=policy)
