"""Approvals: what voids them, when they end, and what a session does without one."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from site_helpers import federate, session

import fedstats as fs
from fedstats.approval import Approval, Approvals, Spec
from fedstats.cli import main
from fedstats.cli._output import EXIT_CODES
from fedstats.site import Site
from transport.identity import Identity

SPEC = Spec("11" * 32, "1.0", ("a", "b"), "22" * 32)
DAY = date(2030, 5, 1)


@pytest.fixture
def approvals(tmp_path: Path) -> Approvals:
    kept = Approvals(tmp_path / "approvals.json", Identity.generate("lyon"))
    kept.add(Approval("analysis.py", SPEC, "2030-04-01T09:00:00+00:00", DAY))
    return kept


def test_an_approval_holds_until_its_last_day(approvals: Approvals) -> None:
    approvals.check(SPEC, "analysis.py", today=DAY)
    with pytest.raises(fs.PolicyError, match=r"ended on 2030-05-01: .*`fedstats approve analysis.py`"):
        approvals.check(SPEC, "analysis.py", today=date(2030, 5, 2))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"script": "11" * 31 + "10"}, "the script's bytes changed"),
        ({"package": "1.1"}, "the version of fedstats changed"),
        (
            {"roster": ("a", "b", "c"), "manifest": "33" * 32},
            "the sites and the federation's manifest changed",
        ),
    ],
)
def test_whatever_changes_voids_it_and_is_named(
    approvals: Approvals, change: dict[str, object], what: str
) -> None:
    changed = replace(SPEC, **change)  # type: ignore[arg-type]
    assert changed.hash != SPEC.hash
    with pytest.raises(fs.PolicyError, match=f"not approved any more: {what} since .*2030-04-01"):
        approvals.check(changed, "analysis.py", today=DAY)


def test_what_was_never_approved_says_how(approvals: Approvals) -> None:
    with pytest.raises(
        fs.PolicyError, match=r"other.py is not approved at this site.*fedstats approve other"
    ):
        approvals.check(replace(SPEC, script="44" * 32), "other.py", today=DAY)


def test_a_changed_file_approves_nothing(approvals: Approvals) -> None:
    text = approvals.path.read_text()
    approvals.path.write_text(text.replace("2030-05-01", "2039-05-01"))
    with pytest.raises(fs.DataError, match="not as `fedstats approve` wrote it, and approves nothing"):
        approvals.check(SPEC, "analysis.py", today=DAY)
    other = Approvals(approvals.path, Identity.generate("lyon"))
    approvals.path.write_text(text)
    with pytest.raises(fs.DataError, match="approves nothing"):
        other.load()


def test_revoking(approvals: Approvals) -> None:
    approvals.add(Approval("b.py", replace(SPEC, script="44" * 32), "2030-04-01T09:00:00+00:00"))
    for wrong in ("", "zz", "c.py"):
        with pytest.raises(fs.DataError, match="approvals: give the beginning"):
            approvals.revoke(wrong)
    assert approvals.revoke("b.py").until is None
    assert approvals.revoke(SPEC.hash[:10]).name == "analysis.py"
    assert approvals.load() == []


# Sessions

SCRIPT = b"print('an analysis')\n"


def command(*arguments: object) -> int:
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.fixture
def sites(tmp_path: Path) -> dict[str, Site]:
    """Return three sites, of which the second wants to approve."""
    sites = federate(tmp_path, "a", "b", "c")
    text = sites["b"].path.read_text()
    sites["b"].path.write_text(text.replace('approval = "open"', 'approval = "approve"'))
    return sites


def describe(federation: fs.Federation, site: str) -> None:
    frame = pd.DataFrame({"x": range(20)})
    fs.describe(federation.cohort(frame), disclose="aggregate")


def test_a_script_runs_where_it_is_approved_and_one_changed_byte_voids_it(
    sites: dict[str, Site], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(fs.PolicyError, match=r"analysis.py is not approved at this site"):
        session(sites, describe, script=SCRIPT)
    script = tmp_path / "analysis.py"
    script.write_bytes(SCRIPT)
    b = sites["b"].path
    assert command("approve", script, "--site", b) == 0
    session(sites, describe, script=SCRIPT)
    with pytest.raises(fs.PolicyError, match="the script's bytes changed since it was approved"):
        session(sites, describe, script=SCRIPT[:-1])
    with pytest.raises(fs.PolicyError, match="a notebook or a shell cannot be approved"):
        session(sites, describe, script=SCRIPT, name=None)

    capsys.readouterr()
    assert command("approve", "--list", "--site", b) == 0
    assert "analysis.py" in capsys.readouterr().out
    assert command("audit", "show", "--event", "approval", "--site", b) == 0
    assert "approval.given" in capsys.readouterr().out
    assert command("audit", "show", "--event", "refusal", "--site", b) == 0
    assert "is not approved" in capsys.readouterr().out


def test_revoking_stops_what_runs(sites: dict[str, Site], tmp_path: Path) -> None:
    script = tmp_path / "analysis.py"
    script.write_bytes(SCRIPT)
    assert command("approve", script, "--site", sites["b"].path) == 0

    def run(federation: fs.Federation, site: str) -> str:
        describe(federation, site)
        if site == "b":
            assert command("approve", "--revoke", "analysis.py", "--site", sites["b"].path) == 0
        with pytest.raises((fs.PolicyError, fs.RemoteError)) as caught:
            describe(federation, site)
        return type(caught.value).__name__

    assert session(sites, run, script=SCRIPT) == ["RemoteError", "PolicyError", "RemoteError"]


def test_an_approval_that_ends_stops_what_runs(sites: dict[str, Site], tmp_path: Path) -> None:
    script = tmp_path / "analysis.py"
    script.write_bytes(SCRIPT)
    assert command("approve", script, "--until", "2999-01-01", "--site", sites["b"].path) == 0

    def run(federation: fs.Federation, site: str) -> str:
        describe(federation, site)
        records = federation.records
        assert records is not None
        later = partial(records.check_approval, today=date(2999, 1, 2))
        records.check_approval = later  # type: ignore[method-assign]
        with pytest.raises((fs.PolicyError, fs.RemoteError)) as caught:
            describe(federation, site)
        return str(caught.value)

    told = session(sites, run, script=SCRIPT)
    assert "the approval of analysis.py ended on 2999-01-01" in told[1]
    assert all("refused by site b (policy error)" in its for its in (told[0], told[2]))


def test_deny_lets_nothing_run(sites: dict[str, Site]) -> None:
    text = sites["b"].path.read_text()
    sites["b"].path.write_text(text.replace('approval = "approve"', 'approval = "deny"'))
    with pytest.raises(fs.PolicyError, match="approval = deny lets no script run"):
        session(sites, describe, script=SCRIPT)


def test_the_command_line_is_read_strictly(sites: dict[str, Site], tmp_path: Path) -> None:
    b = sites["b"].path
    assert command("approve", "--site", b) == 2
    assert command("approve", "x.py", "--list", "--site", b) == 2
    assert command("approve", tmp_path / "absent.py", "--site", b) == EXIT_CODES[fs.DataError]
    script = tmp_path / "analysis.py"
    script.write_bytes(SCRIPT)
    assert command("approve", script, "--until", "2001-01-01", "--site", b) == EXIT_CODES[fs.DataError]
    assert command("approve", "--revoke", "analysis.py", "--site", b) == EXIT_CODES[fs.DataError]


def test_a_site_whose_rule_is_open_is_told_that_approvals_do_not_count(
    sites: dict[str, Site], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "analysis.py"
    script.write_bytes(SCRIPT)
    assert command("approve", script, "--until", "2999-01-01", "--site", sites["a"].path) == 0
    out = capsys.readouterr().out
    assert "approved until 2999-01-01" in out
    assert "approval = open" in out


# The audit commands, on a session's logs


def test_verify_show_and_export(
    sites: dict[str, Site], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sites["b"].path.write_text(sites["b"].path.read_text().replace('"approve"', '"open"'))
    session(sites, describe)
    a, b = sites["a"], sites["b"]
    assert command("audit", "verify", "--site", a.path) == 0
    assert "Audit log of site a" in capsys.readouterr().out
    copy = tmp_path / "b.jsonl"
    assert command("audit", "export", copy, "--site", b.path) == 0
    assert command("audit", "export", copy, "--site", b.path) == EXIT_CODES[fs.DataError]
    assert command("audit", "verify", copy, "--site", a.path) == 0
    assert "Audit log of site b" in capsys.readouterr().out
    assert command("audit", "verify", "--peer", copy, "--site", a.path) == 0

    lines = a.audit.read_bytes().splitlines(keepends=True)
    a.audit.write_bytes(b"".join(lines[:-3]))
    assert command("audit", "verify", "--site", a.path) == 0
    assert "has no end: it runs, it was killed, or entries after" in capsys.readouterr().out
    assert command("audit", "verify", "--peer", copy, "--site", a.path) == EXIT_CODES[fs.DataError]
    assert "was cut off: site b has countersigned it" in capsys.readouterr().out
    a.audit.write_bytes(b"".join(lines[:4] + lines[5:]))
    assert command("audit", "verify", "--site", a.path) == EXIT_CODES[fs.DataError]
    assert "entry 5 was deleted before line 5" in capsys.readouterr().out
    assert command("audit", "show", "--site", a.path) == EXIT_CODES[fs.DataError]
    assert command("audit", "accept", "nobody", "--site", b.path) == EXIT_CODES[fs.TransportError]
    assert command("audit", "accept", "a", "--site", b.path) == 0
