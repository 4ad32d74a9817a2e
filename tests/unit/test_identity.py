"""Identities, certificates and cards: what is written can be read, and nothing else."""

from __future__ import annotations

import datetime as dt
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from transport import certificate as tls
from transport.card import Card, split_endpoint
from transport.errors import IdentityError
from transport.identity import Identity, check_name, verify
from transport.sitekeys import SiteKeys

USAGE = x509.KeyUsage(True, False, False, False, False, False, False, False, False)


@pytest.fixture
def site(tmp_path: Path) -> SiteKeys:
    return SiteKeys.create(tmp_path / "lyon", "lyon", "fedstats.lyon.example:7710")


@pytest.mark.parametrize("name", ["a", "site-2", "0", "x" * 32])
def test_names(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "A", "-a", "a_b", "a.b", "x" * 33, "é", "a\n", "a b"])
def test_bad_names(name: str) -> None:
    with pytest.raises(IdentityError, match="lower-case"):
        check_name(name)


@pytest.mark.parametrize(
    ("endpoint", "host", "port"),
    [("a.example:1", "a.example", 1), ("10.0.0.1:65535", "10.0.0.1", 65535), ("[::1]:80", "[::1]", 80)],
)
def test_endpoints(endpoint: str, host: str, port: int) -> None:
    assert split_endpoint(endpoint, owner="a") == (host, port)


@pytest.mark.parametrize(
    "endpoint", ["", "a", "a:", ":1", "a:0", "a:65536", "a:1:2", "http://a:1", "a b:1", "a:1\n"]
)
def test_bad_endpoints(endpoint: str) -> None:
    with pytest.raises(IdentityError, match="site lyon"):
        split_endpoint(endpoint, owner="lyon")


def test_signatures_are_bound_to_their_domain() -> None:
    identity = Identity.generate("a")
    signature = identity.sign(b"one", b"message")
    assert verify(identity.public, b"one", b"message", signature)
    assert not verify(identity.public, b"two", b"message", signature)
    assert not verify(identity.public, b"onem", b"essage", signature)
    assert not verify(Identity.generate("a").public, b"one", b"message", signature)
    assert not verify(identity.public, b"one", b"message", signature[:-1])
    assert not verify(b"short", b"one", b"message", signature)


def test_everything_is_read_back(site: SiteKeys) -> None:
    again = SiteKeys.load(site.folder)
    assert again.card == site.card == Card.load(site.folder / "card.toml")
    assert again.identity.public == site.identity.public
    own = again.credentials(site.card.fingerprint)
    assert own.certificate == site.card.certificate
    key = serialization.load_pem_private_key(own.key, None)
    assert key.public_key() == site.card.x509.public_key()


def test_secret_files_are_private(site: SiteKeys) -> None:
    secret = [path for path in site.folder.iterdir() if path.name != "card.toml"]
    assert len(secret) == 2
    for path in secret:
        assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_open_secrets_are_refused_with_the_remedy(site: SiteKeys, mode: int) -> None:
    for path in (site.folder / "identity.key", next(site.folder.glob("tls-*.pem"))):
        path.chmod(mode)
        with pytest.raises(IdentityError, match="chmod 600"):
            SiteKeys.load(site.folder).credentials(site.card.fingerprint)
        path.chmod(0o600)


def test_missing_and_malformed_identities(site: SiteKeys, tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="fedstats init"):
        SiteKeys.load(tmp_path / "nowhere")
    path = site.folder / "identity.key"
    secret = path.read_text().split()[2]
    for text in ("", "x", f"other lyon {secret}", f"fedstats-identity-1 lyon {secret[:-2]}", "\xff" * 9):
        path.write_bytes(text.encode("latin-1"))
        with pytest.raises(IdentityError) as caught:
            SiteKeys.load(site.folder)
        assert secret[:16] not in str(caught.value)
        assert caught.value.__cause__ is None


def test_an_identity_is_never_overwritten(site: SiteKeys) -> None:
    with pytest.raises(IdentityError, match="already holds an identity"):
        SiteKeys.create(site.folder, "lyon", None)


def test_reprs_show_no_key(site: SiteKeys) -> None:
    own = site.credentials(site.card.fingerprint)
    shown = "".join(map(repr, (site, site.identity, site.card, own)))
    assert "PRIVATE" not in shown
    assert bytes(site.identity._key).hex() not in shown
    assert site.card.identity.hex() not in shown


def test_rotation_keeps_the_old_certificate_until_it_is_forgotten(site: SiteKeys) -> None:
    old = site.card.fingerprint
    rotated = site.rotate(days=30, endpoint="elsewhere.example:1")
    assert rotated.card.fingerprint != old
    assert rotated.card.identity == site.card.identity
    assert rotated.card.endpoint == "elsewhere.example:1"
    rotated.card.check()
    assert rotated.credentials(old).certificate == site.card.certificate
    later = dt.datetime.now(dt.UTC) + dt.timedelta(days=200)
    gone = site.folder / f"tls-{old.hex()[:16]}.pem"
    assert rotated.forget({rotated.card.fingerprint}, now=later) == [gone]
    with pytest.raises(IdentityError, match="restore it"):
        rotated.credentials(old)
    rotated.credentials(rotated.card.fingerprint)


def test_expired_credentials_are_refused(tmp_path: Path) -> None:
    site = SiteKeys.create(tmp_path / "a", "a", None)
    past = dt.datetime.now(dt.UTC) - dt.timedelta(days=91)
    old = site.rotate(now=past)
    with pytest.raises(IdentityError, match="site a expired"):
        old.credentials(old.card.fingerprint)
    future = site.rotate(now=dt.datetime.now(dt.UTC) + dt.timedelta(days=1))
    with pytest.raises(IdentityError, match="clock"):
        future.credentials(future.card.fingerprint)


def test_issued_certificates() -> None:
    pem, _ = tls.issue("a", days=7)
    certificate = tls.parse(pem, "a")
    validity = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert validity == dt.timedelta(days=7, minutes=10)
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).critical
    assert certificate.extensions.get_extension_for_class(x509.KeyUsage).critical
    with pytest.raises(IdentityError, match="site b"):
        tls.parse(pem, "b")


def make(
    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | None = None,
    signer: ec.EllipticCurvePrivateKey | None = None,
    issuer: str = "a.fedstats.invalid",
    **extensions: tuple[x509.ExtensionType, bool] | None,
) -> bytes:
    """Make a certificate for site a that is right except for what is asked for."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.now(dt.UTC)

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    wanted: dict[str, tuple[x509.ExtensionType, bool] | None] = {
        "constraints": (x509.BasicConstraints(False, None), True),
        "usage": (USAGE, True),
        "purposes": (
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
            False,
        ),
        "names": (x509.SubjectAlternativeName([x509.DNSName("a.fedstats.invalid")]), False),
    }
    builder = (
        x509.CertificateBuilder()
        .subject_name(name("a.fedstats.invalid"))
        .issuer_name(name(issuer))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=1))
    )
    for extension in (wanted | extensions).values():
        if extension is not None:
            builder = builder.add_extension(*extension)
    signing = signer or key
    algorithm = None if isinstance(signing, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(signing, algorithm).public_bytes(serialization.Encoding.PEM)


def test_the_maker_of_bad_certificates_can_make_a_good_one() -> None:
    tls.parse(make(), "a")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"constraints": None}, "may sign other certificates"),
        ({"constraints": (x509.BasicConstraints(True, None), True)}, "may sign other certificates"),
        ({"constraints": (x509.BasicConstraints(False, None), False)}, "may sign other certificates"),
        ({"usage": None}, "not limited to digital signatures"),
        ({"usage": (USAGE, False)}, "not limited to digital signatures"),
        (
            {"usage": (x509.KeyUsage(True, False, False, False, False, True, False, False, False), True)},
            "not limited to digital signatures",
        ),
        ({"purposes": None}, "not for both TLS servers and clients"),
        (
            {"purposes": (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)},
            "not for both TLS servers and clients",
        ),
        ({"names": None}, "is not for a.fedstats.invalid"),
        (
            {"names": (x509.SubjectAlternativeName([x509.DNSName("b.fedstats.invalid")]), False)},
            "is not for a.fedstats.invalid",
        ),
        ({"issuer": "b.fedstats.invalid"}, "issued by itself"),
        ({"key": ec.generate_private_key(ec.SECP384R1())}, "not P-256"),
        ({"key": ed25519.Ed25519PrivateKey.generate()}, "not P-256"),
        ({"signer": ec.generate_private_key(ec.SECP256R1())}, "not signed by its own key"),
    ],
)
def test_certificates_that_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(IdentityError, match=message) as caught:
        tls.parse(make(**options), "a")  # type: ignore[arg-type]
    assert caught.value.peer == "a"


@pytest.mark.parametrize(
    "pem", [b"", b"x", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_what_is_not_a_certificate(pem: bytes) -> None:
    with pytest.raises(IdentityError):
        tls.parse(pem, "a")


def test_two_certificates_are_not_one() -> None:
    with pytest.raises(IdentityError, match="single"):
        tls.parse(make() + make(), "a")


def test_a_card_cannot_be_altered(site: SiteKeys, tmp_path: Path) -> None:
    other = SiteKeys.create(tmp_path / "other", "lyon", None).card
    for changed in (
        replace(site.card, identity=other.identity),
        replace(site.card, certificate=other.certificate),
        replace(site.card, vouched=other.vouched),
        replace(site.card, vouched=b""),
        replace(site.card, name="paris"),
    ):
        with pytest.raises(IdentityError):
            changed.check()


def test_cards_are_read_strictly(site: SiteKeys, tmp_path: Path) -> None:
    path = tmp_path / "card.toml"
    good = (site.folder / "card.toml").read_text()
    for bad in (
        "",
        "format = 2\n" + good.partition("\n")[2],
        good.replace("format = 1", "format = true"),
        good + 'extra = "x"\n',
        good.replace("identity", "identify"),
        good.replace('name = "lyon"', "name = 1"),
        good.replace(site.card.identity.hex(), site.card.identity.hex().upper().replace("0", " 0")),
        good.replace("lyon", "LYON"),
        "= broken",
    ):
        path.write_text(bad)
        with pytest.raises(IdentityError, match=r"card\.toml"):
            Card.load(path)
    with pytest.raises(IdentityError, match="cannot read"):
        Card.load(tmp_path / "missing.toml")


def test_words_are_stable_and_distinct(site: SiteKeys, tmp_path: Path) -> None:
    assert site.card.words == site.rotate().card.words
    assert site.card.words != SiteKeys.create(tmp_path / "b", "lyon", None).card.words
    assert len(site.card.words.split()) == 10


@given(st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_damaged_cards_never_pass(site: SiteKeys, data: st.DataObject) -> None:
    """Whatever one byte of a card becomes, it is refused, or reads as the same card."""
    good = (site.folder / "card.toml").read_bytes()
    position = data.draw(st.integers(0, len(good) - 1))
    bad = bytearray(good)
    bad[position] = data.draw(st.integers(0, 255))
    path = site.folder / "damaged.toml"
    path.write_bytes(bad)
    try:
        card = Card.load(path)
    except IdentityError:
        return
    assert replace(card, endpoint=site.card.endpoint, certificate=site.card.certificate) == site.card
    assert card.fingerprint == site.card.fingerprint


@given(
    st.dictionaries(
        st.sampled_from(["name", "endpoint", "identity", "vouched", "certificate", "other"]),
        st.one_of(st.text(max_size=20), st.integers(), st.none(), st.lists(st.text(max_size=3), max_size=2)),
    )
    | st.integers()
    | st.lists(st.integers(), max_size=2)
)
def test_noise_is_not_a_card(table: object) -> None:
    with pytest.raises(IdentityError):
        Card.from_dict(table)


def test_card_toml_is_plain(site: SiteKeys) -> None:
    table = tomllib.loads((site.folder / "card.toml").read_text())
    assert set(table) == {"format", "name", "endpoint", "identity", "vouched", "certificate"}
