"""Scans whose arithmetic is done elsewhere: threads, processes, a cluster; the same to the last bit."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from gwas_helpers import make_panel, scan

import fedstats as fs
from fedstats.gwas import _ahead

Parts = list[tuple[pd.DataFrame, Path]]
MODES = {
    "exact": {"disclose": "aggregate"},
    "imputed": {"disclose": "aggregate", "missing": "impute"},
    "one a site": {"disclose": "aggregate", "site_intercepts": True},
}


class Pickling(Executor):
    """Does everything at once, but sends it through pickle, as to another process."""

    def __init__(self) -> None:
        self.sent: list[int] = []

    def submit(self, task: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        packed = pickle.dumps((task, args, kwargs))
        self.sent.append(len(packed))
        own, its, named = pickle.loads(packed)
        future: Future[Any] = Future()
        future.set_result(pickle.loads(pickle.dumps(own(*its, **named))))
        return future


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    panel = make_panel(200, 90, missing=0.02)
    panel.rows["sex"] = np.arange(200) % 2 + 1
    return panel.deal(tmp_path_factory.mktemp("sites"), [40, 60])


@pytest.fixture(scope="module", autouse=True)
def _small_blocks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_ahead, "BLOCK", 16)
        yield


@pytest.fixture(scope="module")
def expected(parts: Parts) -> dict[str, pd.DataFrame]:
    return {mode: run(parts, mode) for mode in MODES}


def run(parts: Parts, mode: str, executor: Executor | None = None) -> pd.DataFrame:
    return scan(parts, trait="ldl", covariates=["age"], **MODES[mode], executor=executor).to_frame()


@pytest.mark.parametrize("mode", MODES)
def test_threads_and_what_can_be_sent(parts: Parts, expected: dict[str, pd.DataFrame], mode: str) -> None:
    with ThreadPoolExecutor(3) as threads:
        pd.testing.assert_frame_equal(run(parts, mode, threads), expected[mode], check_exact=True)
        assert threads.submit(int).result() == 0  # it is the caller's to shut down
    elsewhere = Pickling()
    pd.testing.assert_frame_equal(run(parts, mode, elsewhere), expected[mode], check_exact=True)
    assert len(elsewhere.sent) == 3 * 6
    # What goes with a block are numbers of this site's samples, two each, and the block's rows in the file.
    assert max(elsewhere.sent) < 100 * (8 * 2 + 16) + 4_000


@pytest.mark.parametrize("disclose", ["aggregate", "result"])
def test_logistic(parts: Parts, disclose: str) -> None:
    options = {"trait": "case", "disclose": disclose, "refit": 0.01}
    cases = [(rows.assign(case=(rows["ldl"] > 135).astype(int)), bed) for rows, bed in parts]
    here = scan(cases, fs.gwas.logistic, **options).to_frame()
    executor = Pickling()
    elsewhere = scan(cases, fs.gwas.logistic, **options, executor=executor).to_frame()
    assert len(executor.sent) == 3 * (6 + (disclose == "result"))  # saddle points on shares are one more
    same = {"check_exact": True} if disclose == "aggregate" else {"rtol": 1e-4}
    pd.testing.assert_frame_equal(elsewhere, here, **same)


def test_shares(parts: Parts) -> None:
    options = {"trait": "ldl", "disclose": "result"}
    here = scan(parts, **options).to_frame()
    elsewhere = scan(parts, **options, executor=Pickling()).to_frame()
    np.testing.assert_allclose(elsewhere["standard_error"], here["standard_error"], rtol=1e-5)


def test_a_worker_that_fails_ends_the_scan(parts: Parts) -> None:
    class Failing(Pickling):
        def submit(self, task: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            future = super().submit(task, *args, **kwargs)
            if len(self.sent) >= 5:  # sites submit at the same time
                future = Future()
                future.set_exception(MemoryError("a worker is out of memory"))
            return future

    with pytest.raises(MemoryError, match="out of memory"):
        run(parts, "exact", Failing())


def test_every_format_can_be_opened_again(tmp_path: Path) -> None:
    """A file that is replaced under its path is another file."""
    from fedstats.gwas.genotypes import Reading, open_file
    from fedstats.gwas.members import Members
    from fedstats.gwas.plink import write_bed

    panel = make_panel(30, 12)
    write_bed(tmp_path / "own", panel.genotypes, panel.variants, panel.rows[["iid"]])
    members = Members(np.arange(30), np.zeros(30, np.int64))

    def read() -> np.ndarray:
        rows = np.arange(12)
        its = Reading(
            open_file(tmp_path / "own.bed"), rows, np.zeros(12, bool), np.zeros(12, np.int8), members
        )
        assert "own" not in repr(its)
        return pickle.loads(pickle.dumps(its)).block().calls()

    np.testing.assert_array_equal(read(), panel.genotypes)
    other = np.maximum(panel.genotypes, 0)
    write_bed(
        tmp_path / "own", np.vstack([other, other]), pd.concat([panel.variants] * 2), panel.rows[["iid"]]
    )
    np.testing.assert_array_equal(read(), other)


@pytest.fixture
def distributed() -> Any:
    return pytest.importorskip("distributed", reason="the extra 'dask' is not installed")


def test_dask(parts: Parts, expected: dict[str, pd.DataFrame], distributed: Any) -> None:
    options = {"processes": False, "n_workers": 1, "threads_per_worker": 2, "dashboard_address": None}
    with distributed.Client(**options) as client, client.get_executor() as executor:
        pd.testing.assert_frame_equal(run(parts, "exact", executor), expected["exact"], check_exact=True)


@pytest.mark.slow
def test_a_cluster_of_processes(parts: Parts, expected: dict[str, pd.DataFrame], distributed: Any) -> None:
    import os

    options = {"processes": True, "n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with (
        distributed.LocalCluster(**options) as cluster,
        distributed.Client(cluster) as client,
        client.get_executor() as executor,
    ):
        assert os.getpid() not in set(client.run(os.getpid).values())
        pd.testing.assert_frame_equal(run(parts, "exact", executor), expected["exact"], check_exact=True)
