"""Whole processes under `fedstats run`: one dies, or runs another script."""

import time
from pathlib import Path

import pytest
from process_helpers import running

from fedstats.cli._output import EXIT_CODES
from fedstats.demo.stage import enrol
from fedstats.errors import DataError, RemoteError, TransportError

ENDLESS = f"""
import sys
sys.path.append({str(Path(__file__).parents[1])!r})
import pandas as pd
import fedstats as fs
from transport_helpers import hurry

with fs.join(timeout=60) as fed:
    hurry(fed.party.mesh, 5.0)
    cohort = fed.cohort(pd.DataFrame(dict(x=[1.0, 2.0, 3.0, 4.0, 5.0])))
    print("begun", flush=True)
    while True:
        fs.describe(cohort)
"""

ONE_REFUSES = """
import pandas as pd
import fedstats as fs

with fs.join(timeout=60) as fed:
    cohort = fed.cohort(pd.DataFrame({"x": [1.0, 2.0, float("inf") if fed.site == "b" else 3.0]}))
    fs.describe(cohort)
"""


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    folders = {name: tmp_path / name for name in ("a", "b", "c")}
    enrol(folders)
    return folders


def test_a_process_killed_in_the_middle_is_named_by_the_survivors(tmp_path, folders):
    script = tmp_path / "analysis.py"
    script.write_text(ENDLESS)
    with running(dict.fromkeys(folders.values(), script)) as sites:
        for site in sites.values():
            site.wait_for("begun")
        sites["b"].process.kill()
        killed = time.monotonic()
        survivors = {name: sites[name].end() for name in ("a", "c")}
        assert time.monotonic() - killed < 30
    for ended in survivors.values():
        assert ended.code == EXIT_CODES[TransportError]
        assert ended.stderr.startswith("TransportError: ")
        assert "site b" in ended.stderr
        assert "Traceback" not in ended.stderr


def test_another_script_at_one_site_is_refused_by_name(tmp_path):
    folders = {name: tmp_path / name for name in ("a", "c")}
    enrol(folders)
    script, other = tmp_path / "analysis.py", tmp_path / "other.py"
    script.write_text(ENDLESS)
    other.write_text(ENDLESS + "# changed\n")
    with running({folders["a"]: script, folders["c"]: other}) as sites:
        ends = {name: site.end() for name, site in sites.items()}
    for name, ended in ends.items():
        assert ended.code == EXIT_CODES[TransportError], ended
        assert "begun" not in ended.stdout
        assert ("site c" in ended.stderr) == (name != "c")
    assert any("runs another analysis script" in ended.stderr for ended in ends.values())


def test_a_site_that_refuses_its_own_data_stops_all_with_the_reason_at_home_only(tmp_path, folders):
    script = tmp_path / "analysis.py"
    script.write_text(ONE_REFUSES)
    with running(dict.fromkeys(folders.values(), script)) as sites:
        ends = {name: site.end() for name, site in sites.items()}
    assert ends["b"].code == EXIT_CODES[DataError]
    assert "'x'" in ends["b"].stderr
    for name in ("a", "c"):
        assert ends[name].code == EXIT_CODES[RemoteError]
        assert "site b" in ends[name].stderr
        assert "'x'" not in ends[name].stderr
