"""``federation.toml``: signed by all, read strictly, replaced by the next epoch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from transport.errors import IdentityError, ManifestError
from transport.manifest import Manifest
from transport.sitekeys import SiteKeys


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SiteKeys]:
    folder = Path(tmp_path_factory.mktemp("sites"))
    return {
        name: SiteKeys.create(folder / name, name, None if name == "d" else f"{name}.example:7710")
        for name in "abcd"
    }


@pytest.fixture
def draft(sites: dict[str, SiteKeys]) -> Manifest:
    policy = {"min_rows": 5, "share": 0.1, "exact": False, "note": "β ≥ 1"}
    return Manifest.create([sites[name].card for name in "cab"], "stroke", policy=policy, timeout=60)


@pytest.fixture
def signed(draft: Manifest, sites: dict[str, SiteKeys]) -> Manifest:
    for name in "abc":
        draft = draft.sign(sites[name].identity)
    return draft


def test_the_whole_way(draft: Manifest, signed: Manifest, tmp_path: Path) -> None:
    assert draft.unsigned == ("a", "b", "c")
    assert draft.names == ("a", "b", "c")
    signed.verify()
    signed.save(tmp_path / "federation.toml")
    again = Manifest.load(tmp_path / "federation.toml")
    again.verify()
    assert again == signed
    assert again.hash == draft.hash
    assert again.policy["note"] == "β ≥ 1"
    assert again.timeout == 60.0


def test_missing_signatures_are_named_with_the_remedy(draft: Manifest, sites: dict[str, SiteKeys]) -> None:
    with pytest.raises(ManifestError, match="not yet signed by b, c: each runs `fedstats federation sign`"):
        draft.sign(sites["a"].identity).verify()


def test_copies_signed_in_parallel_are_merged(
    draft: Manifest, signed: Manifest, sites: dict[str, SiteKeys], tmp_path: Path
) -> None:
    copies = []
    for name in "abc":
        draft.save(tmp_path / name)
        copies.append(Manifest.load(tmp_path / name).sign(sites[name].identity))
    merged = copies[0].merge(copies[1]).merge(copies[2])
    merged.verify()
    assert merged == signed


def test_different_manifests_are_not_merged(draft: Manifest) -> None:
    with pytest.raises(ManifestError, match="two different manifests"):
        draft.merge(replace(draft, epoch=2))
    with pytest.raises(ManifestError, match="signature of site a"):
        draft.merge(replace(draft, signatures={"a": bytes(64)}))


def test_strangers_cannot_sign(draft: Manifest, sites: dict[str, SiteKeys], tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no site 'd'"):
        draft.sign(sites["d"].identity)
    impostor = SiteKeys.create(tmp_path / "x", "a", None)
    with pytest.raises(ManifestError, match="another identity key for site a"):
        draft.sign(impostor.identity)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"epoch": 2},
        {"policy": {}},
        {"policy": {"min_rows": 5.0, "share": 0.1, "exact": False, "note": "β ≥ 1"}},
        {"timeout": None},
        {"timeout": 61.0},
    ],
)
def test_changed_content_voids_signatures(signed: Manifest, change: dict) -> None:
    with pytest.raises(ManifestError, match="signature of site a is not valid"):
        replace(signed, **change).verify()


def test_a_changed_endpoint_voids_signatures(signed: Manifest, tmp_path: Path) -> None:
    path = tmp_path / "federation.toml"
    signed.save(path)
    path.write_text(path.read_text().replace("a.example:7710", "evil.example:7710"))
    with pytest.raises(ManifestError, match=r"federation\.toml: the signature of site a"):
        Manifest.load(path)


def test_sites_must_be_distinct(sites: dict[str, SiteKeys], tmp_path: Path) -> None:
    a, b = sites["a"].card, sites["b"].card
    with pytest.raises(ManifestError, match="2 to 256 sites, not 1"):
        Manifest.create([a], "f")
    with pytest.raises(ManifestError, match="two sites are named a"):
        Manifest.create([a, a], "f")
    with pytest.raises(ManifestError, match="same endpoint"):
        Manifest.create([a, replace(b, endpoint=a.endpoint)], "f")


def test_one_identity_cannot_be_two_sites(sites: dict[str, SiteKeys], tmp_path: Path) -> None:
    from transport import certificate
    from transport.card import Card
    from transport.identity import Identity

    twin = Identity("twin", bytes(sites["a"].identity._key))
    card = Card.issue(twin, "twin.example:1", certificate.issue("twin")[0])
    with pytest.raises(ManifestError, match="a and twin have the same identity key"):
        Manifest.create([sites["a"].card, card], "f")


def test_two_sites_that_only_dial_out(sites: dict[str, SiteKeys], tmp_path: Path) -> None:
    e = SiteKeys.create(tmp_path / "e", "e", None)
    Manifest.create([sites["a"].card, sites["d"].card], "f")
    with pytest.raises(ManifestError, match="d and e can both only dial out"):
        Manifest.create([sites["a"].card, sites["d"].card, e.card], "f")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "No Such"}, "the federation's name"),
        ({"epoch": 0}, "whole number from 1"),
        ({"timeout": 0.0}, "positive number"),
        ({"timeout": float("inf")}, "positive number"),
        ({"policy": {"x": [1]}}, "policy entry 'x'"),
        ({"policy": {"x": float("nan")}}, "policy entry 'x'"),
    ],
)
def test_content_is_checked(sites: dict[str, SiteKeys], options: dict, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        Manifest.create([sites["a"].card, sites["b"].card], **({"name": "f"} | options))


def test_next_epoch(signed: Manifest, sites: dict[str, SiteKeys], tmp_path: Path) -> None:
    rotated = sites["b"].rotate()
    following = signed.next_epoch(replace_cards=[rotated.card], remove=["c"], add=[sites["d"].card])
    assert following.epoch == 2
    assert following.names == ("a", "b", "d")
    assert following.unsigned == following.names
    assert following.policy == signed.policy
    assert following.card("b").fingerprint == rotated.card.fingerprint != signed.card("b").fingerprint
    assert signed.next_epoch(policy={"min_rows": 10}).policy == {"min_rows": 10}


def test_next_epoch_refuses_what_does_not_fit(
    signed: Manifest, sites: dict[str, SiteKeys], tmp_path: Path
) -> None:
    with pytest.raises(ManifestError, match="no site 'd'"):
        signed.next_epoch(remove=["d"])
    with pytest.raises(ManifestError, match="already has a site a"):
        signed.next_epoch(add=[sites["a"].card])
    other = SiteKeys.create(tmp_path / "other", "a", None)
    with pytest.raises(ManifestError, match="another identity key"):
        signed.next_epoch(replace_cards=[other.card])


def test_files_are_read_strictly(signed: Manifest, tmp_path: Path) -> None:
    path = tmp_path / "federation.toml"
    signed.save(path)
    good = path.read_text()
    for bad in (
        "",
        "= broken",
        good.replace("format = 1", "format = 2"),
        good.replace("format = 1", "format = true"),
        good.replace("epoch = 1", 'epoch = "1"'),
        good.replace("epoch = 1", "epoch = true"),
        good.replace("[policy]", "[policies]"),
        "extra = 1\n" + good,
        good.replace("timeout = 60.0", "timeout = nan"),
        good.replace("[signatures]", '[signatures]\nd = "00"'),
        good.replace('[signatures]\na = "', '[signatures]\na = "zz'),
    ):
        path.write_text(bad)
        with pytest.raises(ManifestError, match=r"federation\.toml"):
            Manifest.load(path)
    path.write_bytes(b"\xff")
    with pytest.raises(ManifestError, match="not text"):
        Manifest.load(path)
    with pytest.raises(ManifestError, match="cannot read"):
        Manifest.load(tmp_path / "missing.toml")


def test_comments_and_layout_may_change(signed: Manifest) -> None:
    import tomli_w

    text = "# agreed on Monday\n" + tomli_w.dumps(signed._to_dict())
    Manifest.loads(text).verify()


@given(st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_damage_is_noticed(signed: Manifest, data: st.DataObject) -> None:
    """Whatever one character becomes, the file is refused or says the same."""
    import tomli_w

    text = tomli_w.dumps(signed._to_dict(), multiline_strings=True)
    position = data.draw(st.integers(0, len(text) - 1))
    character = data.draw(st.characters(codec="utf-8"))
    try:
        manifest = Manifest.loads(text[:position] + character + text[position + 1 :])
        manifest.verify()
    except (ManifestError, IdentityError):
        return
    assert manifest.hash == signed.hash


@given(st.text(max_size=200))
def test_noise_is_refused(text: str) -> None:
    with pytest.raises(ManifestError):
        Manifest.loads(text)
