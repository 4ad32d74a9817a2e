"""Short-lived TLS certificates: how a site's certificate is made, and what makes one acceptable.

A pinned, self-signed certificate is its own trust anchor. Two extensions decide whether it is *only*
that: with ``CA:TRUE``, or with no BasicConstraints or KeyUsage at all, TLS libraries accept it as the
issuer of further certificates, and site b could mint one that passes for site c. So both are demanded,
critical and at their narrowest. Keys are P-256: gRPC does not negotiate Ed25519 certificates.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from transport.errors import IdentityError

#: Days for which a certificate is issued unless told otherwise.
DEFAULT_DAYS = 90
#: Validity begins this much earlier than now, for peers whose clock is behind.
CLOCK_SKEW = timedelta(minutes=10)
#: Largest certificate accepted, in bytes of PEM. An honest one has about 750.
MAX_PEM = 4096

#: What reading a damaged certificate can raise.
_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
_USAGE = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)
_CONSTRAINTS = x509.BasicConstraints(ca=False, path_length=None)
_PURPOSES = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)


def dns_name(site: str) -> str:
    """Return the DNS name under which `site`'s certificate is issued; it is never resolved."""
    return f"{site}.fedstats.invalid"


def issue(site: str, *, days: float = DEFAULT_DAYS, now: datetime | None = None) -> tuple[bytes, bytes]:
    """Make a fresh P-256 key and its self-signed certificate.

    Parameters
    ----------
    site
        The site's name; the certificate is for ``dns_name(site)``.
    days
        Days for which it is valid.
    now
        Time of issue; the system's clock when None.

    Returns
    -------
    certificate, key
        Both in PEM; the key is not encrypted.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    begin = (now or datetime.now(UTC)).replace(microsecond=0)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, dns_name(site))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin - CLOCK_SKEW)
        .not_valid_after(begin + timedelta(days=days))
        .add_extension(_CONSTRAINTS, critical=True)
        .add_extension(_USAGE, critical=True)
        .add_extension(x509.ExtendedKeyUsage(_PURPOSES), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(dns_name(site))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )


def parse(pem: bytes, site: str) -> x509.Certificate:
    """Read `site`'s certificate and refuse it unless it is one that `issue` could have made.

    Parameters
    ----------
    pem
        Exactly one certificate.
    site
        The site it must belong to; named in every error.

    Raises
    ------
    IdentityError
        Not a certificate, not P-256, not self-signed, for another name, or one that could sign others.

    Notes
    -----
    The dates are not judged here: an expired certificate is still well-formed. See `check_dates`.
    """
    if len(pem) > MAX_PEM or pem.count(b"-----BEGIN") != 1:
        raise _refuse(site, "is not a single PEM certificate")
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        _examine(certificate, site)
    except _UNREADABLE as error:
        # Fields are decoded when they are looked at, so any look can fail.
        raise _refuse(site, "cannot be read") from error
    return certificate


def _refuse(site: str, why: str) -> IdentityError:
    return IdentityError(
        f"the certificate of site {site} {why}: ask site {site} to issue a new one with fedstats", peer=site
    )


def _examine(certificate: x509.Certificate, site: str) -> None:
    extensions = {extension.oid: extension for extension in certificate.extensions}
    key = certificate.public_key()
    names = [attribute.value for attribute in certificate.subject]
    if certificate.version is not x509.Version.v3:
        raise _refuse(site, "is not an X.509 v3 certificate")
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _refuse(site, "has a key that is not P-256")

    constraints = extensions.get(x509.BasicConstraints.oid)
    if constraints is None or not constraints.critical or constraints.value != _CONSTRAINTS:
        raise _refuse(site, "may sign other certificates (it lacks a critical BasicConstraints CA:FALSE)")
    usage = extensions.get(x509.KeyUsage.oid)
    if usage is None or not usage.critical or usage.value != _USAGE:
        raise _refuse(site, "is not limited to digital signatures (it lacks a critical KeyUsage)")
    purposes = extensions.get(x509.ExtendedKeyUsage.oid)
    if purposes is None or list(purposes.value) != list(_PURPOSES):
        raise _refuse(site, "is not for both TLS servers and clients")
    alternative = extensions.get(x509.SubjectAlternativeName.oid)
    if alternative is None or list(alternative.value) != [x509.DNSName(dns_name(site))]:
        raise _refuse(site, f"is not for {dns_name(site)}")
    if names != [dns_name(site)] or certificate.issuer != certificate.subject:
        raise _refuse(site, f"is not for {dns_name(site)}, issued by itself")
    try:
        certificate.verify_directly_issued_by(certificate)
    except InvalidSignature as error:
        raise _refuse(site, "is not signed by its own key") from error


def fingerprint(certificate: x509.Certificate) -> bytes:
    """Return the SHA-256 of the certificate's DER encoding: its pin."""
    return certificate.fingerprint(hashes.SHA256())


def check_dates(certificate: x509.Certificate, site: str, *, now: datetime | None = None) -> None:
    """Refuse a certificate that is not valid now.

    Raises
    ------
    IdentityError
        Expired, or not valid yet.
    """
    now = now or datetime.now(UTC)
    if now > certificate.not_valid_after_utc:
        raise IdentityError(
            f"the certificate of site {site} expired on {certificate.not_valid_after_utc:%Y-%m-%d}: "
            f"site {site} must rotate it, and all sites sign the federation's next epoch",
            peer=site,
        )
    if now < certificate.not_valid_before_utc:
        raise IdentityError(
            f"the certificate of site {site} is not valid before "
            f"{certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC: check this machine's clock",
            peer=site,
        )
