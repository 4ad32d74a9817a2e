"""Scans that end in the middle, by an error, by Ctrl-C or by kill -9, go on and end in the same file."""

from __future__ import annotations

import fcntl
import importlib
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from gwas_helpers import Panel, everywhere, make_panel
from process_helpers import Ended, running

import fedstats as fs
from fedstats.cli._output import EXIT_CODES
from fedstats.demo.stage import enrol
from fedstats.gwas import _ahead, saddle_shares
from fedstats.gwas.checkpoint import Checkpoint

OPTIONS: dict[str, Any] = {"trait": "ldl", "covariates": ["age"], "disclose": "aggregate"}
Parts = list[tuple[pd.DataFrame, Path]]


class StoppedError(Exception):
    """What ends a site in the middle."""


def written(found: list[Any]) -> list[str]:
    return [its.to_frame().to_csv(sep="\t", index=False) for its in found]


@pytest.fixture(scope="module")
def panel() -> Panel:
    panel = make_panel(150, 60)
    chance = np.where(panel.genotypes[59] > 0, 0.6, 0.3)
    panel.rows["case"] = (np.random.default_rng(2).random(150) < chance).astype(int)
    panel.genotypes[3] = np.where(panel.rows["case"] == 1, np.arange(150) % 2, 0)  # separates
    panel.genotypes[4] = np.where(np.arange(150) % 4 == 0, panel.rows["case"], panel.genotypes[59])
    return panel


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory, panel: Panel) -> Parts:
    return panel.deal(tmp_path_factory.mktemp("parts"), [40, 50])


def stopped_at_each(
    parts: Parts, folder: Path, monkeypatch: pytest.MonkeyPatch, analysis: Callable[..., Any], **options: Any
) -> Iterator[list[Any]]:
    """Stop after every block in turn and run again; yield each site's result, until no block is left."""
    for block in count(1):
        kept = folder / str(block)
        error = KeyboardInterrupt if block == 2 else StoppedError
        if not stops(parts, kept, monkeypatch, block, error, analysis, **options):
            return
        yield everywhere(parts, analysis, checkpoints=kept, **options)


def stops(
    parts: Parts,
    kept: Path,
    monkeypatch: pytest.MonkeyPatch,
    block: int,
    error: type[BaseException],
    analysis: Callable[..., Any],
    **options: Any,
) -> bool:
    """End sites after so many blocks, of which one has not kept the last; False if there are fewer."""
    keep = Checkpoint.keep
    done: dict[Checkpoint, int] = {}

    def once(self: Checkpoint, stage: str, values: Any) -> None:
        done[self] = done.get(self, 0) + 1
        if done[self] == block and sum(its >= block for its in done.values()) > block % 3:
            raise error
        keep(self, stage, values)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "keep", once)
        try:
            everywhere(parts, analysis, checkpoints=kept, **options)
        except error:
            return True
        return False


def test_a_linear_scan_goes_on_after_every_block(parts: Parts, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(_ahead, "BLOCK", 16)
    whole = written(everywhere(parts, fs.gwas.linear, **OPTIONS))
    ends = [written(its) for its in stopped_at_each(parts, tmp_path, monkeypatch, fs.gwas.linear, **OPTIONS)]
    assert ends == [whole] * 4
    # Once more: nothing is left to do, and nothing is opened but the model.
    again = everywhere(parts, fs.gwas.linear, checkpoints=tmp_path / "3", **OPTIONS)
    assert written(again) == whole
    assert "variant sums" not in again[0].leakage.labels
    assert again[0].cost.rounds == 12 + 1  # as of a scan without blocks, and one to agree


def test_a_logistic_scan_goes_on_in_every_stage(parts: Parts, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(_ahead, "BLOCK", 30)
    monkeypatch.setattr(importlib.import_module("fedstats.gwas.logistic"), "HELD", 150)
    options = {"trait": "case", "covariates": ["age"], "refit": 0.005, "disclose": "aggregate"}
    whole = written(everywhere(parts, fs.gwas.logistic, **options))
    assert {"firth", "wald", "spa"} <= set(re.findall(r"[a-z]+", whole[0]))
    ends = [written(i) for i in stopped_at_each(parts, tmp_path, monkeypatch, fs.gwas.logistic, **options)]
    assert len(ends) >= 5
    assert ends == [whole] * len(ends)


@pytest.mark.parametrize(("name", "mode"), [("linear", "result"), ("linear", "gated"), ("logistic", "gated")])
def test_on_shares_what_was_opened_stays(
    parts: Parts, tmp_path: Path, monkeypatch, name: str, mode: str
) -> None:
    """Roundings on shares differ from run to run in the last digit; all sites end alike."""
    monkeypatch.setattr(_ahead, "BLOCK", 30)
    options = {**OPTIONS, "disclose": mode, "threshold": 0.3}
    if name == "logistic":
        options |= {"trait": "case", "refit": 0.0}
        monkeypatch.setattr(saddle_shares, "HELD", 500)  # saddle points one by one
    else:
        options["missing"] = "impute"
    analysis = getattr(fs.gwas, name)
    whole = everywhere(parts, analysis, **options)[0].to_frame()
    assert len(whole) > 3
    ends = 0
    for found in stopped_at_each(parts, tmp_path, monkeypatch, analysis, **options):
        assert len(set(written(found))) == 1
        pd.testing.assert_frame_equal(found[0].to_frame(), whole, rtol=1e-4)
        ends += 1
    assert ends == 2 + list(whole["test"] if name == "logistic" else []).count("spa")


@pytest.fixture
def kept(parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Checkpoints of a scan that ended after two of four blocks."""
    monkeypatch.setattr(_ahead, "BLOCK", 16)
    assert stops(parts, tmp_path, monkeypatch, 3, StoppedError, fs.gwas.linear, **OPTIONS)
    return tmp_path


def blocks_done(parts: Parts, kept: Path) -> int:
    """Finish a scan, and return how many of its four blocks were done already."""
    found = everywhere(parts, fs.gwas.linear, checkpoints=kept, **OPTIONS)
    assert written(found) == written(everywhere(parts, fs.gwas.linear, **OPTIONS))
    [sums] = [its for its in found[0].leakage if its.label == "variant sums"]
    return 4 - -(-sums.size // (5 * 16))


def test_the_earliest_site_decides(parts: Parts, kept: Path) -> None:
    (kept / "site3").unlink()
    assert blocks_done(parts, kept) == 0


def test_what_a_crash_has_torn_is_done_again(parts: Parts, kept: Path) -> None:
    whole = (kept / "site2").read_bytes()
    (kept / "site2").write_bytes(whole[:-7])
    assert blocks_done(parts, kept) == 1


@pytest.mark.parametrize("cut", [0, 5, 40])
def test_a_head_that_was_torn_begins_anew(parts: Parts, kept: Path, cut: int) -> None:
    (kept / "site1").write_bytes((kept / "site1").read_bytes()[:cut])
    assert blocks_done(parts, kept) == 0


def test_other_input_or_options_are_refused(parts: Parts, kept: Path) -> None:
    def errors(parts: Parts = parts, path: str = "", **options: Any) -> list[fs.FedStatsError]:
        def program(federation: fs.Federation, data: tuple[pd.DataFrame, Path]) -> fs.FedStatsError:
            rows, bed = data
            own = kept / (path if path and federation.site == "site2" else federation.site)
            with pytest.raises(fs.FedStatsError) as caught:
                fs.gwas.linear(
                    federation.genotypes(bed),
                    federation.cohort(rows, id="iid"),
                    **{**OPTIONS, "checkpoint": own, **options},
                )
            return caught.value

        return fs.simulate(program, parts)

    for error in errors(covariates=[]):
        assert type(error) is fs.DataError
        assert "written for other options, trait or covariates: give another path" in str(error)

    (rows, bed), *others = parts
    changed = rows.assign(ldl=rows["ldl"].where(rows["iid"] != "00007", 1.0), unused=1)
    first, *rest = errors([(changed, bed), *others])
    assert "written for other rows of this site's table" in str(first)
    assert all(type(error) is fs.RemoteError and "site site1" in str(error) for error in rest)
    assert blocks_done([(its.assign(unused=1), path) for its, path in parts], kept) == 2

    for suffix in (".bed", ".bim", ".fam"):
        shutil.copy(bed.with_suffix(suffix), kept / f"other{suffix}")
    packed = bytearray(bed.read_bytes())
    packed[100] ^= 0b11  # one genotype
    (kept / "other.bed").write_bytes(packed)
    first, *_ = errors([(rows, kept / "other.bed"), *others])
    assert "other genotypes of this site" in str(first)

    (kept / "text").write_text("chromosome,position")
    assert "text is no checkpoint" in str(errors(path="text")[1])
    with (kept / "site1").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert "another scan uses the checkpoint" in str(errors()[0])
    assert "cannot open the checkpoint" in str(errors(path="text/of/mine")[1])


KILLED = """
import os, signal, sys
from pathlib import Path
import pandas as pd
import fedstats as fs
from fedstats.gwas import _ahead
from fedstats.gwas.checkpoint import Checkpoint

_ahead.BLOCK = 16
keep, blocks = Checkpoint.keep, []

def keep_or_die(self, stage, values):
    blocks.append(stage)
    if fed.site == "b" and len(blocks) == 3 and not Path("killed").exists():
        Path("killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    keep(self, stage, values)

Checkpoint.keep = keep_or_die
with fs.join(timeout=6) as fed:
    found = fs.gwas.linear(
        fed.genotypes("own.bed"),
        fed.cohort(pd.read_csv("own.csv", dtype={"iid": str}), id="iid"),
        trait="ldl", covariates=["age"], disclose="aggregate", checkpoint="scan.checkpoint",
    )
found.to_frame().to_csv("ldl.tsv", sep="\t", index=False)
print("blocks", len(blocks))
"""


def test_a_site_killed_in_the_middle(parts: Parts, tmp_path: Path) -> None:
    """Processes of `fedstats run`; one is killed with -9 before it has kept its third block."""
    whole = written(everywhere(parts, fs.gwas.linear, **OPTIONS))[0]
    folders = {name: tmp_path / name for name in ("a", "b", "c")}
    enrol(folders)
    for folder, (rows, bed) in zip(folders.values(), parts, strict=True):
        rows.to_csv(folder / "own.csv", index=False)
        for suffix in (".bed", ".bim", ".fam"):
            shutil.copy(bed.with_suffix(suffix), folder / f"own{suffix}")
    script = tmp_path / "scan.py"
    script.write_text(KILLED)

    def run() -> dict[str, Ended]:
        with running(dict.fromkeys(folders.values(), script)) as sites:
            return {name: site.end() for name, site in sites.items()}

    first = run()
    assert first["b"].code == -signal.SIGKILL
    for name in ("a", "c"):
        assert first[name].code == EXIT_CODES[fs.TransportError], first[name]
        assert "site b" in first[name].stderr
        assert not (folders[name] / "ldl.tsv").exists()
    for name, ended in run().items():
        assert ended.code == 0, ended
        assert "blocks 2" in ended.stdout  # of four, b had kept two
        assert (folders[name] / "ldl.tsv").read_text() == whole
