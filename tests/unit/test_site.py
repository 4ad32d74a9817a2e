import logging
import os
import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from site_helpers import federate

from fedstats.errors import DataError, FedStatsError, PolicyError, RemoteError, TransportError
from fedstats.federation import Federation
from fedstats.session import INTERACTIVE, SITE_VARIABLE, join, script_hash
from fedstats.site import Site, create_site
from transport.errors import ManifestError
from transport.manifest import Manifest
from transport.sitekeys import SiteKeys

COMPLETE = """\
name = "lyon"
keys = "keys"
federation = "../federation.toml"
listen = "0.0.0.0:7710"
timeout = 30

[data]
patients = "data/patients.parquet"
panel = "/srv/panel.bed"

[policy]
allow_two_site_sums = true
"""


def load(folder: Path, text: str) -> Site:
    path = folder / "site.toml"
    path.write_text(text)
    return Site.load(path)


def test_every_key_is_read_and_paths_are_relative_to_the_file(tmp_path):
    site = load(tmp_path, COMPLETE)
    assert (site.name, site.listen, site.timeout) == ("lyon", "0.0.0.0:7710", 30)
    assert site.keys == tmp_path / "keys"
    assert site.federation.resolve() == tmp_path.parent / "federation.toml"
    assert site.data == {"patients": tmp_path / "data/patients.parquet", "panel": Path("/srv/panel.bed")}
    assert site.policy.allow_two_site_sums
    assert site.policy.allow_aggregate


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("timeout = 30", "timeuot = 30", r"line 5: unknown key 'timeuot'; a site.toml has name, keys"),
        ('name = "lyon"\n', "", r"the key 'name' is missing"),
        ('name = "lyon"', "name = 7", r"line 1: 'name' must be a text"),
        ('name = "lyon"', 'name = "Lyon!"', r"'Lyon!' cannot name a site"),
        ("timeout = 30", "timeout = true", r"line 5: 'timeout' must be a number"),
        ("timeout = 30", "timeout = 0", r"line 5: 'timeout' must be a positive number"),
        ("timeout = 30", "timeout = nan", r"line 5: 'timeout' must be a positive number"),
        ("0.0.0.0:7710", "0.0.0.0", r"'0.0.0.0' is not an endpoint"),
        (
            'patients = "data/patients.parquet"',
            "patients = 3",
            r"line 8: 'patients' in \[data\] must be the path",
        ),
        ("[policy]", "[[policy]]", r"line 11: 'policy' must be a table"),
        ("[policy]", "[policy", r"not valid TOML: .*line 11"),
    ],
)
def test_what_is_not_understood_is_an_error_that_names_file_line_and_key(tmp_path, old, new, message):
    assert old in COMPLETE
    with pytest.raises(DataError, match=message) as caught:
        load(tmp_path, COMPLETE.replace(old, new))
    assert str(tmp_path / "site.toml") in str(caught.value)


def test_a_misspelt_rule_is_not_a_rule_that_does_not_apply(tmp_path):
    with pytest.raises(PolicyError, match="knows no rule 'allow_agregate'"):
        load(tmp_path, COMPLETE.replace("allow_two_site_sums", "allow_agregate"))


def test_a_missing_file_names_the_command_that_makes_one(tmp_path):
    with pytest.raises(DataError, match="fedstats init"):
        Site.load(tmp_path / "site.toml")


def test_a_created_site_can_be_loaded_and_keeps_its_secrets(tmp_path):
    created = create_site(tmp_path / "lyon", "lyon", endpoint="lyon.example:7710", listen="0.0.0.0:7710")
    assert created == Site.load(tmp_path / "lyon" / "site.toml")
    assert created.listen == "0.0.0.0:7710"
    assert created.card.name == "lyon.card.toml"
    secret = [path for path in created.keys.iterdir() if path.name != "card.toml"]
    assert len(secret) == 2
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in secret)


@pytest.mark.parametrize("existing", ["site.toml", "keys", "lyon.card.toml"])
def test_creating_a_site_overwrites_nothing(tmp_path, existing):
    (tmp_path / existing).mkdir()
    with pytest.raises(DataError, match=f"{existing} exists, and nothing is overwritten"):
        create_site(tmp_path, "lyon", endpoint=None)
    assert [path.name for path in tmp_path.iterdir()] == [existing]


@pytest.mark.parametrize(("name", "listen"), [("Lyon", None), ("lyon", "here")])
def test_a_malformed_name_or_address_leaves_nothing_behind(tmp_path, name, listen):
    with pytest.raises(TransportError):
        create_site(tmp_path / "new", name, endpoint=None, listen=listen)
    assert not (tmp_path / "new").exists()


# join


def test_join_without_a_site_says_how_to_name_one(monkeypatch):
    monkeypatch.delenv(SITE_VARIABLE, raising=False)
    with pytest.raises(DataError, match=r"fedstats run script.py --site site.toml"):
        join()


def test_two_sites_join_and_learn_the_rules(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="fedstats.session")
    sites = federate(tmp_path, "a", "b")

    def run(site: Site) -> Federation:
        with join(site.path, timeout=20) as federation:
            return federation

    with ThreadPoolExecutor() as threads:
        joined = dict(zip(sites, threads.map(run, sites.values()), strict=True))
    assert {name: (its.site, its.sites) for name, its in joined.items()} == {
        name: (name, ("a", "b")) for name in sites
    }
    assert all(its.shared_policy.min_cell == 7 for its in joined.values())
    assert "waiting up to 20 s for b" in caplog.messages
    assert "site b: connected" in caplog.messages


def test_where_the_steward_has_not_approved_the_script_all_sites_are_told(tmp_path, caplog):
    sites = federate(tmp_path, "a", "b")
    text = sites["b"].path.read_text()
    sites["b"].path.write_text(text.replace('approval = "open"', 'approval = "approve"'))

    def run(site: Site) -> FedStatsError:
        with pytest.raises(FedStatsError) as caught:
            join(site.path, timeout=20)
        return caught.value

    with ThreadPoolExecutor() as threads:
        a, b = threads.map(run, sites.values())
    assert isinstance(b, PolicyError)
    assert "rule is approval = approve" in str(b)
    assert isinstance(a, RemoteError)
    assert "site b stopped with an error of class policy" in str(a)
    assert "this site waits for the others to tell them" in caplog.text


def test_a_manifest_that_is_not_signed_by_all_is_refused_before_anything_is_sent(tmp_path):
    sites = federate(tmp_path, "a", "b")
    manifest = Manifest.load(sites["a"].federation)
    unsigned = Manifest.create(manifest.peers, "test").sign(SiteKeys.load(sites["a"].keys).identity)
    unsigned.save(sites["a"].federation)
    with pytest.raises(TransportError, match="not yet signed by b") as caught:
        join(sites["a"].path)
    assert isinstance(caught.value.__cause__, ManifestError)
    assert caught.value.site == "b"


def test_keys_of_another_site_are_refused(tmp_path):
    sites = federate(tmp_path, "a", "b")
    text = sites["a"].path.read_text().replace('name = "a"', 'name = "b"')
    sites["a"].path.write_text(text)
    with pytest.raises(DataError, match=r"'name' is 'b', and the keys in .* are those of site 'a'"):
        join(sites["a"].path)


def test_a_site_that_does_not_come_is_named(tmp_path):
    sites = federate(tmp_path, "a", "b")
    with pytest.raises(TransportError, match=r"not all sites came .*site a") as caught:
        join(sites["b"].path, timeout=1)
    assert caught.value.site == "a"


def test_the_script_is_hashed_byte_for_byte(tmp_path, monkeypatch):
    script = tmp_path / "analysis.py"
    script.write_bytes(b"print(1)\n")
    monkeypatch.setattr(sys.modules["__main__"], "__file__", os.fspath(script), raising=False)
    first = script_hash()
    script.write_bytes(b"print(1)\r\n")
    assert script_hash() != first


def test_an_interactive_session_has_a_constant_in_place_of_a_script(monkeypatch, caplog):
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)
    assert script_hash() == INTERACTIVE
    assert "interactive session" in caplog.text
