"""`fedstats demo`, smaller than by default: three processes, and the pooled result."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fedstats.cli import main
from fedstats.demo.data import SHARES
from fedstats.demo.figures import Comparison, Figures, compare


def test_three_processes_get_the_pooled_result(tmp_path):
    small = ["--output", "out", "--samples", "400", "--variants", "600"]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "fedstats", "demo", "--json", "figures.json", *small],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    check_figures(json.loads((tmp_path / "figures.json").read_text()))
    check_printed(done.stdout)
    check_files(tmp_path / "out")


def check_figures(figures: dict[str, Any]) -> None:
    assert 0 < figures["max_relative_error"] <= 1e-7  # what is computed on shares is opened with 30 bits
    assert figures["max_neg_log10_p_error"] <= 1e-6
    assert figures["identical_at_all_sites"] is True
    assert figures["seconds"] > 0
    assert figures["rounds"] > sum(its["rounds"] for its in figures["analyses"].values())
    assert figures["bytes_sent"] == sum(figures["bytes_sent_by_site"].values()) > 0
    assert set(figures["analyses"]) == {"describe", "ols", "gwas"}
    assert figures["analyses"]["gwas"]["numbers"] > 600
    assert any(reveal["label"] == "variant sums" for reveal in figures["revealed"]["gwas"])


def check_printed(text: str) -> None:
    for heading in (
        "Three sites that may not pool their rows",
        "What every site sees",
        "The same as if the rows had been pooled",
        "Who learnt what",
    ):
        assert heading in text
    assert "bit for bit the same results" in text
    assert "\x1b" not in text  # no terminal, no colours


def check_files(out: Path) -> None:
    assert len(pd.read_csv(out / "results/gwas.csv")) > 300
    for plot in ("manhattan.png", "qq.png"):
        assert (out / plot).read_bytes().startswith(b"\x89PNG")
    for site in SHARES:
        assert (out / "sites" / site / "site.toml").exists()


def test_folders_that_no_demo_made_are_left_alone(tmp_path, capsys):
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites/mine.txt").touch()
    with pytest.raises(SystemExit) as end:
        main(["demo", "--output", str(tmp_path)])
    assert end.value.code
    assert "no demonstration made it" in capsys.readouterr().err
    assert (tmp_path / "sites/mine.txt").exists()


def test_a_site_that_fails_is_reported_with_its_own_words(tmp_path, monkeypatch, capsys):
    from fedstats.demo import data

    monkeypatch.setitem(data.REGISTERED, "patients", "nowhere.csv")
    with pytest.raises(SystemExit) as end:
        main(["demo", "--output", str(tmp_path), "--samples", "100", "--variants", "200"])
    assert end.value.code == 1
    err = capsys.readouterr().err
    assert "site basel (exit code 10): DataError" in err
    assert "nowhere.csv" in err


def test_comparison_finds_the_greatest_difference():
    expected = pd.DataFrame({"x": [1.0, float("nan"), 0.0], "y": [2.0, 3.0, -4.0]}, index=["a", "b", "c"])
    found = expected.sample(frac=1, random_state=1).assign(more=1)
    assert compare(found, expected).max_relative_error == 0
    found.loc["c", "y"] = -4.004
    assert compare(found, expected).max_relative_error == pytest.approx(1e-3)
    assert compare(found, expected).numbers == 6


@pytest.mark.parametrize("order", [["describe", "ols"], ["ols", "describe"]])
def test_what_could_not_be_compared_is_no_agreement(order):
    found = {"describe": Comparison(1, 1e-12), "ols": Comparison(1, float("nan"))}
    figures = Figures(1.0, {name: found[name] for name in order}, 0.0, True, {})
    assert figures.max_relative_error != figures.max_relative_error
