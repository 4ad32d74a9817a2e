"""Result bundles: they hold what the result holds, and any change is noticed."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from site_helpers import federate, session

import fedstats as fs
from fedstats import bundle
from fedstats.cli import main
from fedstats.cli._output import EXIT_CODES
from fedstats.site import Site
from transport.manifest import Manifest


def frame(site: str) -> pd.DataFrame:
    random = np.random.default_rng(ord(site))
    return pd.DataFrame({"y": random.normal(size=25), "x": random.normal(size=25), "arm": [*"abcde"] * 5})


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Site], list[fs.results.Result], Path]:
    """Return three sites, what each obtained of a session, and the folder with their bundles."""
    folder = tmp_path_factory.mktemp("bundles")
    sites = federate(folder, "a", "b", "c")

    def run(federation: fs.Federation, site: str) -> list[fs.results.Result]:
        cohort = federation.cohort(frame(site))
        results = [
            fs.ols("y ~ x", cohort, disclose="aggregate"),
            fs.describe(cohort, by="arm", disclose="aggregate"),
            fs.value_counts(cohort, "arm", dropna=False, disclose="aggregate"),
        ]
        for number, result in enumerate(results):
            result.save(folder / f"{site}{number}.json")
        return results

    return sites, session(sites, run)[0], folder


def command(*arguments: object) -> int:
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_the_table_comes_back_bit_for_bit(saved) -> None:
    _, results, folder = saved
    for number, result in enumerate(results):
        loaded = bundle.load(folder / f"a{number}.json")
        expected = result.to_frame()
        assert loaded.site == "a"
        pd.testing.assert_frame_equal(
            loaded.to_frame(), expected, check_exact=True, check_index_type=False, check_names=True
        )
        assert loaded.content["leakage"] == [its.to_dict() for its in result.leakage]
        assert loaded.content["cost"]["rounds"] == result.cost.rounds
    ols = bundle.load(folder / "a0.json").content
    assert ols["result"]["numbers"]["nobs"] == 75
    assert ols["result"]["analysis"] == "ols"
    assert "'y ~ x'" in ols["result"]["call"]
    assert ols["session"]["roster"] == ["a", "b", "c"]
    assert ols["session"]["script_name"] == "analysis.py"


def test_sites_vouch_for_one_another(saved, capsys: pytest.CaptureFixture[str]) -> None:
    sites, _, folder = saved
    bundles = [folder / f"{site}0.json" for site in "abc"]
    assert command("verify", "bundle", *bundles, "--federation", sites["a"].federation) == 0
    out = capsys.readouterr().out
    assert "signed by site c" in out
    assert "All 3 hold the same result" in out
    assert command("verify", "bundle", bundles[0], folder / "b1.json") == EXIT_CODES[fs.DataError]
    assert "do not hold the same result" in capsys.readouterr().err


@pytest.mark.parametrize("part", ["result", "leakage", "cost", "session", "versions", "time"])
def test_any_change_is_noticed(saved, tmp_path: Path, part: str) -> None:
    whole = json.loads((saved[2] / "a0.json").read_bytes())
    whole["content"][part] = "changed" if part == "time" else {}
    path = tmp_path / "changed.json"
    path.write_bytes(bundle.canonical(whole))
    with pytest.raises(fs.DataError, match="was changed after site a signed it"):
        bundle.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.replace(b'"nobs":75', b'"nobs":76'), "was changed after site a signed it"),
        (lambda data: data.replace(b'"nobs":75', b'"nobs": 75'), "is not a result bundle, or was changed"),
        (lambda data: data[:-9], "is not a result bundle, or was changed"),
        (lambda data: b"{}", "is not a result bundle"),
        (lambda data: data.replace(b'"format":1', b'"format":2'), "has format 2; this version"),
        (lambda data: data.replace(b'"signature":"', b'"signature":"x'), "was changed after"),
    ],
)
def test_what_is_no_sound_bundle_is_refused(saved, tmp_path: Path, change, message: str) -> None:
    data = (saved[2] / "a0.json").read_bytes()
    path = tmp_path / "changed.json"
    path.write_bytes(change(data))
    assert path.read_bytes() != data
    with pytest.raises(fs.DataError, match=message):
        bundle.load(path)


def test_who_signed_is_told_by_the_manifest(saved, tmp_path: Path) -> None:
    sites, _, folder = saved
    loaded = bundle.load(folder / "a0.json")
    loaded.check_federation(Manifest.load(sites["b"].federation))
    with pytest.raises(fs.DataError, match="give the manifest of that epoch"):
        loaded.check_federation(Manifest.load(federate(tmp_path, "a", "b", "c")["a"].federation))
    posing = bundle.Bundle(loaded.path, "b", loaded.key, loaded.content)
    with pytest.raises(fs.DataError, match="not that of site b in the manifest"):
        posing.check_federation(Manifest.load(sites["b"].federation))


def test_the_log_holds_the_digest(saved) -> None:
    sites, _, _ = saved
    lines = [json.loads(line) for line in sites["a"].audit.read_text().splitlines()]
    assert [line["body"]["file"] for line in lines if line["event"] == "result.saved"] == [
        "a0.json",
        "a1.json",
        "a2.json",
    ]


def test_a_copied_result_has_no_key(saved) -> None:
    result = saved[1][2]
    assert result.provenance.records is not None
    for copied in (pickle.loads(pickle.dumps(result)), copy.deepcopy(result)):
        assert copied.provenance.records is None
        assert copied.provenance.analysis == "value_counts"


def test_nobody_vouches_for_a_simulated_session(tmp_path: Path) -> None:
    def run(federation: fs.Federation, site: str) -> None:
        result = fs.describe(federation.cohort(frame(site)), ["x"], disclose="aggregate")
        result.save(tmp_path / f"{site}.json")

    fs.simulate(run, [*"abc"])
    with pytest.raises(fs.DataError, match="saved in a simulated session"):
        bundle.load(tmp_path / "a.json")


def test_cells_that_json_does_not_have(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {"f": [np.nan, np.inf, -np.inf], "i": pd.array([1, None, 2**60], "Int64"), "t": ["x", None, "ö"]}
    )
    told = bundle._table(table)
    assert [its["values"] for its in told["columns"]] == [
        [None, "inf", "-inf"],
        [1, None, str(2**60)],
        ["x", None, "ö"],
    ]
