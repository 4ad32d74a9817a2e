"""The commands, run in this process as a shell would run them in separate ones."""

import json
import os
import socket
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import pytest

from fedstats.cli import main
from fedstats.cli._output import EXIT_CODES
from fedstats.errors import DataError, PolicyError, TransportError
from fedstats.session import SITE_VARIABLE
from transport.loopback import free_endpoints


def run(*arguments: object) -> int:
    """Run a command line, and return its exit code."""
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.fixture
def sites(tmp_path) -> dict[str, Path]:
    """Three enrolled sites, and nothing signed yet."""
    folders = {name: tmp_path / name for name in ("a", "b", "c")}
    for (name, folder), endpoint in zip(folders.items(), free_endpoints(3), strict=True):
        assert run("init", name, "--endpoint", endpoint, "--directory", folder) == 0
    return folders


def cards(sites: dict[str, Path]) -> list[Path]:
    return [folder / f"{name}.card.toml" for name, folder in sites.items()]


def sign_all(manifest: Path, sites: dict[str, Path]) -> None:
    for folder in sites.values():
        assert run("federation", "sign", manifest, "--site", folder / "site.toml", "--yes") == 0


def federate(sites: dict[str, Path], folder: Path) -> None:
    manifest = folder / "federation.toml"
    assert run("federation", "create", *cards(sites), "-o", manifest) == 0
    sign_all(manifest, sites)
    for site in sites.values():
        (site / "federation.toml").write_bytes(manifest.read_bytes())


def test_version_and_help(capsys):
    assert run("--version") == 0
    assert capsys.readouterr().out == f"fedstats {version('fedstats')}\n"
    assert run("--help") == 0
    assert "Enrolment" in capsys.readouterr().out


@pytest.mark.parametrize(
    "command",
    ["init", "rotate", "federation", "doctor", "run", "approve", "audit", "budget", "verify", "demo"],
)
def test_every_command_explains_itself(command, capsys):
    assert run(command, "--help") == 0
    assert "Usage" in capsys.readouterr().out


def test_init_keeps_secrets_and_shows_the_fingerprint(tmp_path, capsys):
    assert run("init", "lyon", "--endpoint", "lyon.example:7710", "--directory", tmp_path) == 0
    out = capsys.readouterr().out
    assert "secret" in out
    assert "to be compared by telephone" in out
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "keys").iterdir()}
    assert modes["identity.key"] == 0o600
    seed = (tmp_path / "keys/identity.key").read_text().split()[-1]
    assert seed not in out
    assert seed not in (tmp_path / "lyon.card.toml").read_text()


def test_init_overwrites_nothing(tmp_path, capsys):
    assert run("init", "lyon", "--directory", tmp_path) == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert run("init", "lyon", "--directory", tmp_path) == EXIT_CODES[DataError]
    assert "nothing is overwritten" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_create_sign_verify(sites, tmp_path, capsys):
    manifest = tmp_path / "federation.toml"
    assert run("federation", "create", *cards(sites), "-o", manifest, "--name", "trial", "--min-cell", 7) == 0
    assert run("federation", "verify", manifest) == EXIT_CODES[TransportError]
    assert "not yet signed by a, b, c" in capsys.readouterr().err
    sign_all(manifest, sites)
    capsys.readouterr()
    assert run("federation", "verify", manifest) == 0
    out = capsys.readouterr().out
    assert "Federation trial, epoch 1" in out
    assert "min_cell = 7" in out
    assert "Valid: signed by all 3 sites" in out


def test_shared_rules_are_read_as_in_the_manifest(sites, tmp_path, capsys):
    manifest = tmp_path / "federation.toml"
    create = ("federation", "create", *cards(sites), "-o", manifest)
    assert run(*create, "--rule", "min_row=20") == EXIT_CODES[PolicyError]
    assert "did you mean 'min_rows'" in capsys.readouterr().err
    assert run(*create, "--rule", "min_rows") == 2
    assert run(*create, "--rule", "min_rows=20", "--rule", "max_parameters = 0.1") == 0
    assert "min_rows = 20, max_parameters = 0.1" in capsys.readouterr().out


def test_copies_signed_in_parallel_are_merged(sites, tmp_path):
    draft = tmp_path / "draft.toml"
    assert run("federation", "create", *cards(sites), "-o", draft) == 0
    copies = []
    for name, folder in sites.items():
        copies.append(tmp_path / f"{name}.toml")
        copies[-1].write_bytes(draft.read_bytes())
        assert run("federation", "sign", copies[-1], "--site", folder / "site.toml", "-y") == 0
    merged = tmp_path / "federation.toml"
    assert run("federation", "merge", *copies, "-o", merged) == 0
    assert run("federation", "verify", merged) == 0


def test_create_overwrites_no_manifest(sites, tmp_path, capsys):
    manifest = tmp_path / "federation.toml"
    manifest.write_text("mine")
    assert run("federation", "create", *cards(sites), "-o", manifest) == EXIT_CODES[DataError]
    assert manifest.read_text() == "mine"
    assert "nothing is overwritten" in capsys.readouterr().err


def test_signing_asks_whether_fingerprints_were_compared(sites, tmp_path, monkeypatch, capsys):
    manifest = tmp_path / "federation.toml"
    assert run("federation", "create", *cards(sites), "-o", manifest) == 0
    before = manifest.read_bytes()
    with open(os.devnull) as nobody:
        monkeypatch.setattr(sys, "stdin", nobody)
        assert (
            run("federation", "sign", manifest, "--site", sites["a"] / "site.toml") == EXIT_CODES[DataError]
        )
    assert "add --yes" in capsys.readouterr().err
    assert manifest.read_bytes() == before


def test_a_manifest_changed_after_signing_is_refused(sites, tmp_path, capsys):
    federate(sites, tmp_path)
    manifest = tmp_path / "federation.toml"
    manifest.write_text(manifest.read_text().replace('name = "study"', 'name = "other"'))
    assert run("federation", "verify", manifest) == EXIT_CODES[TransportError]
    assert "the file was changed after it signed" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "not toml [", "format = 1\n"])
def test_a_malformed_manifest_is_refused_by_name(text, tmp_path, capsys):
    manifest = tmp_path / "federation.toml"
    manifest.write_text(text)
    assert run("federation", "verify", manifest) == EXIT_CODES[TransportError]
    assert str(manifest) in capsys.readouterr().err


def test_rotation_and_the_next_epoch(sites, tmp_path, capsys):
    federate(sites, tmp_path)
    manifest = tmp_path / "federation.toml"
    card = sites["b"] / "b.card.toml"
    before = card.read_bytes()
    assert run("rotate", "--site", sites["b"] / "site.toml", "--days", 30) == 0
    assert card.read_bytes() != before
    assert run("federation", "create", card, "--previous", manifest, "-o", manifest) == 0
    capsys.readouterr()
    sign_all(manifest, sites)
    assert run("federation", "verify", manifest) == 0
    assert "epoch 2" in capsys.readouterr().out


def test_a_site_can_leave_in_the_next_epoch(sites, tmp_path, capsys):
    federate(sites, tmp_path)
    manifest, following = tmp_path / "federation.toml", tmp_path / "next.toml"
    assert run("federation", "create", "--previous", manifest, "--remove", "c", "-o", following) == 0
    rest = {name: folder for name, folder in sites.items() if name != "c"}
    sign_all(following, rest)
    assert run("federation", "verify", following) == 0
    assert "signed by all 2 sites" in capsys.readouterr().out


# doctor


def doctor(folder: Path, wait: float) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fedstats", "doctor", "--wait", str(wait)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_doctors_meet_and_measure_the_way(sites, tmp_path):
    federate(sites, tmp_path)
    with ThreadPoolExecutor() as threads:
        reports = list(threads.map(lambda folder: doctor(folder, 30), sites.values()))
    for name, report in zip(sites, reports, strict=True):
        assert report.returncode == 0, report.stdout + report.stderr
        assert "All is in order" in report.stdout
        for peer in set(sites) - {name}:
            assert f"ok    peer {peer}" in report.stdout
    assert "round trip" in reports[0].stdout


def test_the_doctor_says_what_to_do_about_each_fault(sites, tmp_path, capsys):
    federate(sites, tmp_path)
    folder = sites["a"]
    with (folder / "site.toml").open("a") as file:
        file.write('\n[data]\npatients = "patients.csv"\n')
    text = (folder / "site.toml").read_text().replace("[data]\n# patients", "# patients")
    (folder / "site.toml").write_text(text)
    port = (folder / "a.card.toml").read_text().partition('endpoint = "127.0.0.1:')[2].partition('"')[0]
    with socket.create_server(("127.0.0.1", int(port))):
        assert run("doctor", "--site", folder / "site.toml", "--wait", 0) == 1
    out = capsys.readouterr().out
    assert "FAIL  data patients" in out
    assert "correct [data] in site.toml" in out
    assert "FAIL  port" in out
    assert "2 of the checks failed" in out


def test_the_doctor_names_the_peer_that_does_not_come(sites, tmp_path, capsys):
    federate(sites, tmp_path)
    assert run("doctor", "--site", sites["c"] / "site.toml", "--wait", 1) == 1
    out = capsys.readouterr().out
    for peer in ("a", "b"):
        assert f"FAIL  peer {peer}" in out
        assert f"run `fedstats doctor` or the analysis at site {peer}" in out


def test_the_doctor_stops_at_keys_that_others_can_read(sites, capsys):
    (sites["a"] / "keys/identity.key").chmod(0o644)
    assert run("doctor", "--site", sites["a"] / "site.toml") == 1
    assert "chmod 600" in capsys.readouterr().out


# run


RUN = ("run", "analysis.py", "--site", "site.toml")


def test_a_script_runs_as_main_with_its_arguments(sites):
    (sites["a"] / "analysis.py").write_text(
        "import json, os, sys, neighbour\n"
        "print(json.dumps([__name__, sys.argv, os.environ['FEDSTATS_SITE']]))\n"
        "raise SystemExit(7)"
    )
    (sites["a"] / "neighbour.py").touch()
    command = [sys.executable, "-m", "fedstats", *RUN, "--fast", "input.csv"]
    result = subprocess.run(command, cwd=sites["a"], capture_output=True, text=True, check=False)
    assert result.returncode == 7, result.stderr
    name, argv, site = json.loads(result.stdout)
    assert (name, argv) == ("__main__", ["analysis.py", "--fast", "input.csv"])
    assert Path(site) == sites["a"] / "site.toml"


@pytest.fixture
def script(sites, monkeypatch) -> Path:
    """The script that `RUN` runs at site a; what running it changes is put back."""
    monkeypatch.chdir(sites["a"])
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setenv(SITE_VARIABLE, "")
    return sites["a"] / "analysis.py"


def test_an_error_of_ours_is_a_message_and_an_exit_code(script, capsys):
    script.write_text(
        "import fedstats.errors as e\nerror = e.PolicyError('no')\nerror.add_note('b too')\nraise error"
    )
    capsys.readouterr()
    assert run(*RUN) == EXIT_CODES[PolicyError]
    assert capsys.readouterr() == ("", "PolicyError: no\nb too\n")
    assert run(*RUN, "--traceback") == EXIT_CODES[PolicyError]
    shown = capsys.readouterr().err
    assert shown.startswith('Traceback (most recent call last):\n  File "analysis.py", line 4')


def test_another_error_shows_a_traceback_that_begins_in_the_script(script, capsys):
    script.write_text("secret_rows = [1]\n1 / 0")
    capsys.readouterr()
    assert run(*RUN) == 1
    shown = capsys.readouterr().err
    assert shown.startswith('Traceback (most recent call last):\n  File "analysis.py", line 2')
    assert "ZeroDivisionError" in shown
    assert shown.count("File ") == 1


def test_a_missing_script_is_an_error_of_ours(capsys):
    assert run("run", "nowhere.py") == EXIT_CODES[DataError]
    assert "there is no script nowhere.py" in capsys.readouterr().err
