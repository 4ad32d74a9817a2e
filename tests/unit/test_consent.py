"""Consent: whoever withdrew it is in no cohort, and the audit log says how many were left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from gwas_helpers import make_panel
from site_helpers import federate, session

import fedstats as fs
from fedstats.audit import read
from fedstats.consent import Consent
from fedstats.site import Site
from transport.sitekeys import SiteKeys

NAMES = ("a", "b", "c")
HEAD = 'name = "a"\nkeys = "keys"\nfederation = "federation.toml"\n\n'


def table(site: str) -> pd.DataFrame:
    random = np.random.default_rng(ord(site))
    rows = 30 if site == "a" else 12
    return pd.DataFrame(
        {
            "pid": [f"{number:03d}" for number in range(rows)],
            "x": random.normal(size=rows),
            "y": random.normal(size=rows),
            "use": ["yes", "no", "yes", None, "yes", " yes"] * (rows // 6),
        }
    )


def load(folder: Path, consent: str) -> Site:
    path = folder / "site.toml"
    path.write_text(HEAD + consent)
    return Site.load(path)


@pytest.mark.parametrize(
    ("consent", "message"),
    [
        ('[consent]\nwithdrwan = "x"', r"line 6: \[consent\] knows no key 'withdrwan'; did you mean 'withd"),
        ("[consent]\nwithdrawn = 5", r"line 6: 'withdrawn' in \[consent\] must be a text"),
        ('[consent]\ncolumn = "c"\nvalue = 0.5', r"line 7: 'value' in \[consent\] must be a text, a whole"),
        ('[consent]\ncolumn = "use"', r"'column' and 'value' in \[consent\] go together"),
        ("[consent]", r"\[consent\] says nothing"),
    ],
)
def test_what_is_not_understood_is_refused(tmp_path: Path, consent: str, message: str) -> None:
    with pytest.raises(fs.PolicyError, match=message):
        load(tmp_path, consent)


def test_all_that_a_site_may_say(tmp_path: Path) -> None:
    said = load(tmp_path, '[consent]\nwithdrawn = "out.txt"\ncolumn = "use"\nvalue = true\n').consent
    assert said == Consent(tmp_path.resolve() / "out.txt", "use", "True")
    assert load(tmp_path, "").consent is None


@pytest.mark.parametrize("ids", ["text", "number"])
def test_rows_are_left_out_however_their_ids_are_read(tmp_path: Path, ids: str) -> None:
    (tmp_path / "out.txt").write_text("\ufeff007\n\n 012 \n999", encoding="utf-8")  # as some editors begin
    frame = table("a")
    if ids == "number":
        frame["pid"] = frame["pid"].astype(float)
    kept = Consent(tmp_path / "out.txt").kept(frame, "pid")
    assert kept.index.tolist() == [row for row in range(30) if row not in (7, 12)]


def test_rows_are_left_out_by_a_column_which_is_taken_out() -> None:
    kept = Consent(column="use", value="yes").kept(table("a"), None)
    assert kept.index.tolist() == [row for row in range(30) if row % 6 in (0, 2, 4, 5)]
    assert "use" not in kept
    flags = pd.DataFrame({"use": [1.0, 0.0, np.nan, 1.0]})
    assert Consent(column="use", value="1").kept(flags, None).index.tolist() == [0, 3]


def test_what_cannot_be_looked_up_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "out.txt").write_text("1\n")
    with pytest.raises(fs.DataError, match=r"fed.cohort\(..., id='column'\)"):
        Consent(tmp_path / "out.txt").kept(table("a"), None)
    with pytest.raises(fs.DataError, match=r"gone.txt, .*No such file"):
        Consent(tmp_path / "gone.txt").kept(table("a"), "pid")
    with pytest.raises(fs.DataError, match="column 'use', which the table lacks"):
        Consent(column="use", value="yes").kept(table("a").drop(columns="use"), "pid")


def test_the_withdrawn_are_in_no_analysis_and_their_number_is_audited(tmp_path: Path) -> None:
    sites = federate(tmp_path, *NAMES)
    path = sites["a"].path
    path.write_text(path.read_text().replace("# [consent]\n# withdrawn", "[consent]\nwithdrawn"))
    panel = make_panel(60, 6, missing=0.0)
    files = dict(zip(NAMES, panel.deal(tmp_path, [25, 15]), strict=True))
    gone = files["a"][0]["iid"].iloc[[3, 7]].tolist()
    path.with_name("withdrawn.txt").write_text("\n".join([*gone, "never seen"]))

    def program(federation: fs.Federation, site: str) -> tuple[float, int]:
        frame, bed = files[site]
        cohort = federation.cohort(frame, id="iid")
        described = fs.describe(cohort, ["ldl"], disclose="aggregate").to_frame()
        scan = fs.gwas.linear(federation.genotypes(bed), cohort, trait="ldl", disclose="aggregate")
        return described.loc["ldl", "mean"], int(scan.to_frame()["n"].max())

    left = panel.rows[~panel.rows["iid"].isin(gone)]
    for mean, n in session(sites, program):
        np.testing.assert_allclose(mean, left["ldl"].mean(), rtol=1e-12)
        assert n == len(left) == 58
    entries = read(sites["a"].audit, SiteKeys.load(sites["a"].keys).identity.public).sound()
    assert [entry.body for entry in entries if entry.event == "consent"] == [{"excluded": 2}]
    others = read(sites["b"].audit, SiteKeys.load(sites["b"].keys).identity.public).sound()
    assert not [entry for entry in others if entry.event == "consent"]


def test_who_withdraws_during_a_session_is_in_no_later_cohort(tmp_path: Path) -> None:
    (tmp_path / "out.txt").write_text("")

    def program(federation: fs.Federation, site: str) -> list[int]:
        federation.consent = Consent(tmp_path / "out.txt")
        before = len(federation.cohort(table(site), id="pid"))
        if site == "a":
            (tmp_path / "out.txt").write_text("3\n")
        federation.cohort(table(site), id="pid")  # all sites pass here together
        return [before, len(federation.cohort(table(site), id="pid"))]

    assert fs.simulate(program, NAMES) == [[30, 29], [12, 11], [12, 11]]
