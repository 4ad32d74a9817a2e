"""What rules and records cost: an analysis at sites that have rules and an audit log, beside one without.

python -m pytest benchmarks/bench_policy.py

The ratio of the two drowns in the machine's noise, so what rules and records take is timed by itself too:
`policy_share`, CPU seconds of the seconds of the analysis, at the site where it is most. What brings the log
to the disk is in it; waiting for the disk is not, as that happens while the sites agree, which takes as long
as the network does. The rule `min_difference` looks at every row, and is measured apart.
"""

from __future__ import annotations

import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import fedstats as fs
from benchmarks.compare import compare
from benchmarks.on_shares import over_wide_area
from benchmarks.processes import NAMES
from fedstats._rules import Rules
from fedstats.audit import Audit
from fedstats.policy import SitePolicy
from fedstats.records import Records, Script
from fedstats.site import create_site
from transport.loopback import free_endpoints
from transport.manifest import Manifest
from transport.sitekeys import SiteKeys

ROWS, COLUMNS = 100_000, 20
RULES = SitePolicy(
    functions=("describe", "ols"),
    deny_columns=("postcode*",),
    identifiers=("pid",),
    sensitive=("hiv",),
    min_rows=20,
    approval="open",
)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Records]:
    folder: Path = tmp_path_factory.mktemp("sites")
    sites = {
        name: create_site(folder / name, name, endpoint=endpoint)
        for name, endpoint in zip(NAMES, free_endpoints(len(NAMES)), strict=True)
    }
    keys = {name: SiteKeys.load(site.keys) for name, site in sites.items()}
    manifest = Manifest.create([its.card for its in keys.values()], "benchmark")
    for its in keys.values():
        manifest = manifest.sign(its.identity)
    script = Script("benchmark.py", bytes(32))
    return {name: Records(site, keys[name].identity, manifest, script) for name, site in sites.items()}


@contextmanager
def timed(spent: dict[str, float]) -> Iterator[None]:
    """Add the CPU seconds of rules and records to `spent`, by site."""
    site_of: dict[type, Callable[[Any], str]] = {
        Records: lambda its: its.site.name,
        Audit: lambda its: its.identity.name,
        Rules: lambda its: its._federation.site,
    }
    methods: list[tuple[type, str, Callable[..., Any]]] = [
        (owner, name, getattr(owner, name))
        for owner, names in (
            (Records, ("note", "check_approval")),
            (Audit, ("sync",)),
            (Rules, ("__init__", "check_call", "check_input", "to_tell", "agreed", "check_complete")),
        )
        for name in names
    ]

    @contextmanager
    def counted(its: Any) -> Iterator[None]:
        start = time.thread_time()
        try:
            yield
        finally:
            spent[site_of[type(its)](its)] += time.thread_time() - start

    def watched(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def run(its: Any, *arguments: Any, **named: Any) -> Any:
            with counted(its):
                return method(its, *arguments, **named)

        return run

    @contextmanager
    def syncing(its: Records) -> Iterator[None]:
        with ExitStack() as stack:
            with counted(its):
                stack.enter_context(whole(its))
            yield
            with counted(its):
                stack.close()

    whole = Records.syncing
    for owner, name, method in methods:
        setattr(owner, name, watched(method))
    Records.syncing = syncing  # type: ignore[method-assign]
    try:
        yield
    finally:
        Records.syncing = whole  # type: ignore[method-assign]
        for owner, name, method in methods:
            setattr(owner, name, method)


@pytest.mark.parametrize("min_difference", [1, 20])
@pytest.mark.parametrize("what", ["describe", "ols"])
def test_rules_and_records(
    benchmark: Any, records: dict[str, Records], what: str, min_difference: int
) -> None:
    random = np.random.default_rng(0)
    table = pd.DataFrame(random.normal(size=(ROWS, COLUMNS)), columns=[f"x{k}" for k in range(COLUMNS)])
    parts = dict(zip(NAMES, np.array_split(np.arange(ROWS), 3), strict=True))
    formula = "x0 ~ " + " + ".join(table.columns[1:])
    shares: list[float] = []
    costs: list[fs.results.Cost] = []

    def analyse(cohort: fs.Cohort) -> Any:
        return fs.describe(cohort) if what == "describe" else fs.ols(formula, cohort)

    def program(federation: fs.Federation, site: str) -> float:
        start = time.perf_counter()
        costs.append(analyse(federation.cohort(table.iloc[parts[site]])).cost)
        return time.perf_counter() - start

    def with_rules(federation: fs.Federation, site: str) -> float:
        federation.records = records[site]
        federation.policy = replace(RULES, min_difference=min_difference)
        return program(federation, site)

    def governed() -> None:
        spent: dict[str, float] = defaultdict(float)
        with timed(spent):
            seconds = fs.simulate(with_rules, list(NAMES), names=list(NAMES))
        shares.append(max(spent.values()) / max(seconds))

    compare(
        benchmark,
        governed,
        "the same without",
        lambda: fs.simulate(program, list(NAMES), names=list(NAMES)),
        turns=7,
    )
    benchmark.extra_info |= {
        "rounds": costs[0].rounds,
        "bytes": costs[0].bytes_sent,
        "wide_area": over_wide_area(benchmark.stats.stats.median, costs[0].rounds, costs[0].bytes_sent),
        "policy_share": f"{np.median(shares):.2%}",
    }
