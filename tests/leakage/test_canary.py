"""What rows hold stands in no log, no file that a site keeps, no output, and no traceback."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from site_helpers import federate, session

import fedstats as fs

CANARY = "Canary-73-Miller"
#: Numbers that nothing else has.
NUMBER = 8675309.0625
ROWS = 30


def table(site: str) -> pd.DataFrame:
    rows = np.arange(ROWS)
    random = np.random.default_rng(ord(site))
    return pd.DataFrame(
        {
            "pid": [f"{CANARY}-{site}{row}" for row in rows],
            "x": NUMBER + rows,
            "y": random.normal(size=ROWS),
            "arm": np.where(rows % 3 == 0, "old", "new"),
            "name": [f"{CANARY} {site} {row}" for row in rows],
            "mixed": [CANARY, *[NUMBER] * (ROWS - 1)],
            "huge": [1e300, *[NUMBER] * (ROWS - 1)],
        }
    )


TWO = {"columns": ["x", "y"], "disclose": "aggregate"}


def again(cohort: fs.Cohort, frame: pd.DataFrame) -> fs.Cohort:
    return cohort.federation.cohort(frame, id="pid")


#: What works, and what does not, with the class of the error at every site.
CALLS: list[tuple[Callable[[fs.Cohort], object], type[fs.FedStatsError] | None]] = [
    (lambda c: fs.describe(c, **TWO), None),
    (lambda c: fs.value_counts(c, "arm"), None),
    (lambda c: fs.ols("x ~ y + C(arm)", c), None),
    (lambda c: fs.privacy.mean(c, "x", bounds=(0, 1e7), rho=1), None),
    (lambda c: fs.ols("name ~ y", c), fs.DataError),
    (lambda c: fs.ols("y ~ log(x - 8675320)", c), fs.DataError),
    (lambda c: fs.describe(c, ["mixed"]), fs.DataError),
    (lambda c: fs.describe(c, ["huge"], disclose="aggregate"), fs.DataError),
    (lambda c: fs.describe(again(c, table(c.federation.site).tail(ROWS - 1)), **TWO), fs.PolicyError),
    (lambda c: again(c, table(c.federation.site).assign(pid=CANARY)), fs.DataError),
]


def test_what_rows_hold_stands_nowhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    sites = federate(tmp_path, "a", "b", "c")
    for site in sites.values():
        text = site.path.read_text()
        site.path.write_text(text.replace("min_difference = 1", "min_difference = 2"))
    shown: list[str] = []
    ended: dict[str, list[str]] = {}

    def program(federation: fs.Federation, site: str) -> None:
        cohort = federation.cohort(table(site), id="pid")
        shown.append(repr(cohort))
        for call, _ in CALLS:
            outcome = ""
            try:
                found = call(cohort)
                shown.append(repr(found))
            except fs.FedStatsError as error:
                outcome = type(error).__name__
                shown.extend(traceback.format_exception(error))
            ended.setdefault(site, []).append(outcome)
        if site == "a":
            raise ValueError(CANARY)  # of the script itself: for its own site's eyes
        try:
            fs.describe(cohort, ["y"], disclose="aggregate")
        except fs.FedStatsError as error:
            shown.extend(traceback.format_exception(error))
            raise

    with pytest.raises(ValueError, match=CANARY):
        session(sites, program)
    expected = ["" if error is None else error.__name__ for _, error in CALLS]
    assert ended == dict.fromkeys(sites, expected)
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"audit.jsonl", "rowsets.sqlite", "budget.sqlite"} <= {path.name for path in kept}
    files = b"\n".join(path.read_bytes() for path in kept).decode("latin-1")
    for told in (files, "\n".join(shown), caplog.text, *capfd.readouterr()):
        assert CANARY not in told
        assert not [row for row in range(ROWS) if f"{NUMBER + row}" in told]
