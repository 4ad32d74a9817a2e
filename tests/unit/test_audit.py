"""The audit log: what it holds, and that whatever is done to it is named."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from site_helpers import federate, session

import fedstats as fs
from fedstats.audit import Audit, Head, missing_heads, read, seen
from fedstats.records import Records
from fedstats.site import Site
from transport.identity import Identity


@pytest.fixture
def log(tmp_path: Path) -> tuple[Path, Identity]:
    """Return a log of eight entries, and whose it is."""
    identity = Identity.generate("lyon")
    audit = Audit(tmp_path / "audit.jsonl", identity)
    for number in range(2, 9):
        assert audit.append("reveal", label=f"label {number}").number == number
    return audit.path, identity


def edit(lines: list[bytes]) -> None:
    lines[3] = lines[3].replace(b"label 4", b"label 5")


def renumber(lines: list[bytes]) -> None:
    lines[3] = lines[3].replace(b'"number":4', b'"number":5')


def delete_one(lines: list[bytes]) -> None:
    del lines[3]


def delete_three(lines: list[bytes]) -> None:
    del lines[2:5]


def delete_first(lines: list[bytes]) -> None:
    del lines[0]


def move(lines: list[bytes]) -> None:
    lines.insert(2, lines.pop(5))


def repeat(lines: list[bytes]) -> None:
    lines.insert(5, lines[3])


def cut(lines: list[bytes]) -> None:
    lines[-1] = lines[-1][:40]


def garbage(lines: list[bytes]) -> None:
    lines[3] = b"\xff not JSON\n"


@pytest.mark.parametrize(
    ("tamper", "problem"),
    [
        (edit, "entry 4 (line 4) was edited"),
        (renumber, "entry 4 (line 4) was edited"),
        (garbage, "entry 4 (line 4) was edited"),
        (delete_one, "entry 4 was deleted before line 4"),
        (delete_three, "entries 3 to 5 were deleted before line 3"),
        (delete_first, "entry 1 was deleted before line 1"),
        (move, "entry 6 (line 3) was moved: it stands before entry 3"),
        (repeat, "entry 4 (line 6) was moved: it stands behind entry 5"),
        (cut, "line 8 ends in the middle of an entry"),
    ],
)
def test_tampering_is_named(
    log: tuple[Path, Identity], tamper: Callable[[list[bytes]], None], problem: str
) -> None:
    path, identity = log
    assert read(path, identity.public).problems == []
    lines = path.read_bytes().splitlines(keepends=True)
    tamper(lines)
    path.write_bytes(b"".join(lines))
    found = read(path, identity.public)
    assert problem in found.problems[0]
    with pytest.raises(fs.DataError, match="not as it was written"):
        found.sound()


def test_an_edit_or_a_deletion_accuses_no_other_entry(log: tuple[Path, Identity]) -> None:
    path, identity = log
    lines = path.read_bytes().splitlines(keepends=True)
    edit(lines)
    del lines[6]
    path.write_bytes(b"".join(lines))
    assert len(read(path, identity.public).problems) == 2


def test_entries_of_another_key_are_not_the_sites(log: tuple[Path, Identity]) -> None:
    found = read(log[0], Identity.generate("lyon").public)
    assert found.entries == []
    assert len(found.problems) == 8


def test_an_older_copy_that_was_written_on_is_named(log: tuple[Path, Identity]) -> None:
    path, identity = log
    newer = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(newer[:5]))
    Audit(path, identity).append("reveal", label="another")
    forked = path.read_bytes().splitlines(keepends=True)
    assert read(path, identity.public).problems == []  # for this there are the other sites, below
    path.write_bytes(b"".join(forked + newer[6:]))
    (problem,) = read(path, identity.public).problems
    assert problem.startswith("entry 7 (line 7) does not follow the entry 6")


def test_the_log_is_its_owners_alone_and_goes_on_after_a_crash(log: tuple[Path, Identity]) -> None:
    path, identity = log
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with path.open("ab") as file:
        file.write(b'{"body":{"la')  # the machine stopped in the middle of an entry
    assert Audit(path, identity).append("reveal", label="after").number == 9
    assert read(path, identity.public).problems == []


def test_two_writers_make_one_chain(log: tuple[Path, Identity]) -> None:
    path, identity = log
    one, two = Audit(path, identity), Audit(path, identity)
    for writer in (one, two, two, one):
        writer.append("reveal", label="x" * 5000)
    assert read(path, identity.public).problems == []
    assert read(path, identity.public).entries[-1].head.number == 12


def test_nothing_is_written_behind_an_entry_that_is_not_the_sites(log: tuple[Path, Identity]) -> None:
    with pytest.raises(fs.DataError, match="not one that this site signed"):
        Audit(log[0], Identity.generate("lyon")).append("reveal")


def test_a_log_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(fs.DataError, match="nothing is opened without it"):
        Audit(tmp_path / "absent" / "audit.jsonl", Identity.generate("lyon")).append("reveal")


# Sessions

SECRET = 7310.25


def analyse(federation: fs.Federation, site: str) -> None:
    frame = pd.DataFrame({"x": np.full(20, SECRET) + np.arange(20), "arm": [*"ab"] * 10})
    cohort = federation.cohort(frame)
    fs.describe(cohort, ["x"], disclose="aggregate")
    with pytest.raises(fs.FedStatsError):
        fs.describe(cohort, ["y"], disclose="aggregate")


def entries(site: Site) -> list[tuple[str, dict]]:
    return [
        (json.loads(line)["event"], json.loads(line)["body"]) for line in site.audit.read_text().splitlines()
    ]


def test_a_session_is_logged_without_a_value(tmp_path: Path) -> None:
    sites = federate(tmp_path, "a", "b", "c")
    session(sites, analyse)
    for site in sites.values():
        events = entries(site)
        assert [event for event, _ in events] == [
            *("log.begin", "session.start", "session.heads"),
            *("agree", "analysis.end"),
            *("agree", "reveal", "reveal", "reveal", "analysis.end"),
            *("refusal", "analysis.end"),
            *("session.end", "session.heads"),
        ]
        reveals = [body for event, body in events if event == "reveal"]
        assert [(its["label"], its["kind"], its["size"]) for its in reveals] == [
            ("counts", "pooled", 2),
            ("sums", "pooled", 2),
            ("central powers", "pooled", 4),
        ]
        assert {its["call"] for its in reveals} == {"describe#2"}
        agreed = next(body for event, body in events[5:] if event == "agree")
        assert agreed["columns"] == ["x"]
        ended = [body for event, body in events if event == "analysis.end"]
        assert [its["outcome"] for its in ended] == ["done", "done", "DataError"]
        for its in (agreed, *reveals, events[-4][1], *ended[1:]):
            assert its["disclose"] == "aggregate"
        assert min(its["began"] for its in ended) > json.loads(site.audit.read_text().splitlines()[1])["time"]
        assert set(agreed["may_open"]) >= {its["label"] for its in reveals}
        start = events[1][1]
        assert start["roster"] == ["a", "b", "c"]
        assert start["epoch"] == 1
        for witness in (events[2][1], events[-1][1]):
            assert witness["witnesses"].keys() == witness["heads"].keys() == sites.keys() - {site.name}
        values = [f"{SECRET + row}" for row in range(20)]
        assert not any(value in site.audit.read_text() for value in values)


def test_what_decides_a_rule_is_on_the_disk_before_it_opens(tmp_path: Path) -> None:
    """Also at sites that have no such rule: they learn of it as they agree, when the log is synced."""
    sites = federate(tmp_path, "a", "b", "c")
    text = sites["b"].path.read_text()
    for rule, value, now in (("min_pooled_rows", "0", "30"), ("max_site_share", "1.0", "0.5")):
        assert f"{rule} = {value}" in text
        text = text.replace(f"{rule} = {value}", f"{rule} = {now}")
    sites["b"].path.write_text(text)
    held: dict[str, str] = {}

    def watch(federation: fs.Federation, site: str) -> None:
        assert federation.records is not None
        sync = federation.records.audit.sync

        def syncing() -> None:
            sync()
            held[site] = sites[site].audit.read_text()

        federation.records.audit.sync = syncing  # type: ignore[method-assign]
        fs.describe(federation.cohort(pd.DataFrame({"x": np.arange(20.0)})), ["x"])
        federation.records.audit.sync = sync  # type: ignore[method-assign]

    session(sites, watch)
    for site in sites.values():
        opened = [body["label"] for event, body in entries(site) if event == "reveal"]
        assert {"min_pooled_rows", "max_site_share"} < set(opened)
        synced = [json.loads(line) for line in held[site.name].splitlines()]
        assert "reveal" not in [its["event"] for its in synced]
        assert set(synced[-1]["body"]["may_open"]) >= set(opened)


def failing(records: Records, event: str) -> None:
    """Let the log take no entry of a kind, nor reach the disk after it."""
    note, sync = records.audit.note, records.audit.sync
    stuck: list[str] = []

    def fail(its: str, **body: object) -> Head:
        if its == event == "reveal":
            raise fs.DataError("the disk is full")
        stuck.extend([its] if its == event == "agree" and body["columns"] else [])
        return note(its, **body)

    def fail_after() -> None:
        if stuck:
            raise fs.DataError("the disk is full")
        sync()

    records.audit.note, records.audit.sync = fail, fail_after  # type: ignore[method-assign]


@pytest.mark.parametrize("event", ["agree", "reveal"])
def test_nothing_is_opened_that_the_log_does_not_hold(tmp_path: Path, event: str) -> None:
    sites = federate(tmp_path, "a", "b", "c")
    opened = []

    def full(federation: fs.Federation, site: str) -> None:
        assert federation.records is not None
        if site == "b":
            failing(federation.records, event)
        try:
            analyse(federation, site)
        finally:
            if site == "b":
                opened.extend(reveal for reveal in federation.leakage if reveal.kind != "published")

    with pytest.raises(fs.FedStatsError, match=r"the disk is full"):
        session(sites, full)
    assert "reveal" not in [event for event, _ in entries(sites["b"])]
    assert not opened


def test_what_is_told_and_not_opened_is_on_the_disk_too(tmp_path: Path) -> None:
    def release(federation: fs.Federation, site: str) -> None:
        assert federation.records is not None
        synced, sync = [], federation.records.audit.sync
        federation.records.audit.sync = lambda: synced.append(sync())  # type: ignore[method-assign]
        fs.meta_analysis(federation, 0.5, 0.1, release=True)
        assert len(synced) == 1

    session(federate(tmp_path, "a", "b", "c"), release)


def test_a_log_that_was_cut_off_is_refused_by_all(tmp_path: Path) -> None:
    sites = federate(tmp_path, "a", "b", "c")
    session(sites, lambda fed, site: None)
    before = sites["b"].audit.read_bytes()
    session(sites, lambda fed, site: None)
    whole = sites["b"].audit.read_bytes()
    sites["b"].audit.write_bytes(before)

    key = sites["b"].keys / "identity.key"
    public = Identity.load(key).public
    witness = read(sites["a"].audit, Identity.load(sites["a"].keys / "identity.key").public).entries
    mine = read(sites["b"].audit, public)
    assert mine.problems == []
    gone = missing_heads(mine.entries, "b", witness, public)
    assert [text.split(",")[0] for text in gone] == ["entry 6", "entry 8"]

    with pytest.raises(fs.FedStatsError, match=r"lacks entry 8|shows an audit log of 6 entries") as caught:
        session(sites, lambda fed, site: None)
    assert "fedstats audit accept b" in str(caught.value)

    sites["b"].audit.write_bytes(whole)
    session(sites, lambda fed, site: None)


def test_a_lost_log_can_be_accepted(tmp_path: Path) -> None:
    sites = federate(tmp_path, "a", "b", "c")
    session(sites, lambda fed, site: None)
    sites["b"].audit.unlink()
    with pytest.raises(fs.FedStatsError, match="audit accept b"):
        session(sites, lambda fed, site: None)
    for name in "ac":
        identity = Identity.load(sites[name].keys / "identity.key")
        Audit(sites[name].audit, identity).append("peer.accepted", site="b")
        assert "b" not in seen(read(sites[name].audit, identity.public).entries)
    session(sites, lambda fed, site: None)


def test_a_false_signature_is_its_senders_fault(tmp_path: Path) -> None:
    sites = federate(tmp_path, "a", "b", "c")
    impostor = Identity.generate("b")

    def run(federation: fs.Federation, site: str) -> None:
        assert federation.records is not None
        if site == "b":
            audit = federation.records.audit
            honest = audit.entries()
            audit.identity = impostor
            audit.entries = lambda: honest  # type: ignore[method-assign]
            audit.append = lambda event, **body: honest[-1].head  # type: ignore[method-assign]

    # At the end nobody countersigns; the results stand.
    session(sites, run)
    assert [event for event, _ in entries(sites["a"])][-2:] == ["session.end", "session.unwitnessed"]
    assert entries(sites["a"])[-1][1] == {"error": "ProtocolError"}
