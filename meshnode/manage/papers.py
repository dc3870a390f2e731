"""Papers that travel as files: requests, bundles and certificates, told and checked.

A host that cannot reach an issuer makes a request here, carries it there, and brings
a bundle back. Nothing in these files is secret; the keys stay in the state directory.
"""

import ipaddress
from pathlib import Path
from typing import Any, Final

from meshnode.codec.names import check_label
from meshnode.codec.record_bytes import (
    decode_certificate,
    decode_charter,
    decode_issuer,
    parse_envelope,
)
from meshnode.codec.records import Certificate, Issuer, Role
from meshnode.crypto.keys import PublicKey
from meshnode.crypto.signing import SigningKey
from meshnode.errors import CodecError, ConfigError
from meshnode.manage.identity import (
    NodeKeys,
    NotMemberError,
    PendingJoin,
    load_identity,
    load_joining,
    save_joining,
)
from meshnode.mesh.delegation import parse_issuer_request, parse_permission
from meshnode.mesh.describe import role_names
from meshnode.mesh.refusal import RecordRefused
from meshnode.mesh.requests import (
    Bundle,
    Request,
    parse_bundle,
    parse_request,
    serialise_request,
)
from meshnode.mesh.trust import Trust, overlay_ipv6
from meshnode.types import Prefix

MAX_FILE_BYTES: Final = 400_000
"""Of a file that holds a paper, with all that a mail program adds."""

_BEGIN: Final = "-----BEGIN MESHNODE "


def make_request(
    state_dir: Path,
    network: str,
    name: str,
    *,
    groups: tuple[str, ...] = (),
    subnets: tuple[Prefix, ...] = (),
    roles: tuple[str, ...] = (),
) -> str:
    """Make the keys of a host that wants to join *network*; return its request.

    Asking again is asking for the same keys.

    Raises:
        ConfigError: if a name is none, the host is a member already, or joins by an
            invite at the moment.
        HostError: if the keys cannot be kept.
    """
    check_label(name, "the name")
    for group in groups:
        check_label(group, "the name of a group")
    try:
        load_identity(state_dir)
    except NotMemberError:
        pass
    else:
        raise ConfigError(
            f"this host is a member of {network} already: meshnode cert renew"
        )
    known = load_joining(state_dir)
    if known is not None and known.token:
        raise ConfigError(
            f"this host joins {network} by an invite already: use that again, or "
            f"remove {state_dir / 'joining'} to give it up"
        )
    keys = NodeKeys.new() if known is None else known.keys
    signing_key = SigningKey(keys.signing_seed)
    request = Request(
        name=name,
        wireguard_key=keys.private_key.public_key().raw,
        signing_key=signing_key.public,
        groups=groups,
        subnets=subnets,
        roles=parse_roles(roles),
    )
    text = serialise_request(request, signing_key)
    save_joining(state_dir, PendingJoin(keys, name, ""))
    return text


def describe_text(text: str) -> dict[str, Any]:
    """Return what the paper in *text* says; its signatures are not verified.

    The key `paper` says what it is: bundle, request, issuer request or issuer.

    Raises:
        ConfigError: if it is none, or damaged.
    """
    for line in text.splitlines():
        describe = _READERS.get(line.strip())
        if describe is not None:
            return describe(text)
    raise ConfigError("this is no paper of meshnode: it has no line with BEGIN")


def describe_own(state_dir: Path) -> dict[str, Any]:
    """Return what the certificate in *state_dir* says.

    A renewed one is in the state of the running node, and later than this.

    Raises:
        NotMemberError, ConfigError, HostError: as `load_identity`.
    """
    identity = load_identity(state_dir)
    try:
        certificate = decode_certificate(parse_envelope(identity.certificate).body)
        issuer = None
        if identity.issuer:
            issuer = decode_issuer(parse_envelope(identity.issuer).body)
    except CodecError as error:
        raise ConfigError(f"{state_dir / 'certificate'}: {error}") from None
    return describe_certificate(certificate, issuer, identity.network_id)


def describe_certificate(
    certificate: Certificate, issuer: Issuer | None, network_id: bytes
) -> dict[str, Any]:
    """Return what *certificate* says; *issuer* is None if an authority signed it."""
    v6 = overlay_ipv6(network_id, certificate.wireguard_key)
    return {
        "paper": "certificate",
        "name": certificate.name,
        "networkId": network_id.hex(),
        "key": str(PublicKey(certificate.wireguard_key)),
        "signingKey": certificate.signing_key.hex(),
        "serial": certificate.serial.hex(),
        "ipv4": str(ipaddress.IPv4Address(certificate.ipv4)),
        "ipv6": str(ipaddress.IPv6Address(v6)),
        "groups": list(certificate.groups),
        "routes": [str(subnet) for subnet in certificate.subnets],
        "roles": role_names(certificate.roles),
        "gateways": [str(PublicKey(key)) for key in certificate.gateways],
        "notBefore": certificate.not_before,
        "notAfter": certificate.not_after,
        "memberSince": certificate.member_since,
        "issuer": None if issuer is None else describe_issuer(issuer),
    }


def describe_issuer(issuer: Issuer) -> dict[str, Any]:
    """Return what *issuer* may grant."""
    return {
        "name": issuer.name,
        "issuingKey": str(PublicKey(issuer.issuing_key)),
        "pools": [str(pool) for pool in issuer.pools],
        "groups": list(issuer.groups),
        "routes": [str(subnet) for subnet in issuer.subnets],
        "roles": role_names(issuer.roles),
        "maxLifetime": issuer.max_lifetime,
        "notBefore": issuer.not_before,
        "notAfter": issuer.not_after,
    }


def verify_bundle_text(text: str, *, wall: int) -> dict[str, Any]:
    """Verify every signature and grant of the bundle in *text*; return what it says.

    The network is what the first charter says it is: compare `networkId` with what
    the issuer tells you.

    Raises:
        ConfigError: with the first rule that is broken.
    """
    bundle = parse_bundle(text)
    try:
        first = decode_charter(parse_envelope(bundle.charters[0]).body)
        trust = Trust(first.network_id)
        for charter in bundle.charters:
            trust.add_charter(charter)
        trust.verify_certificate(
            parse_envelope(bundle.certificate),
            parse_envelope(bundle.issuer) if bundle.issuer else None,
            wall=wall,
        )
    except (CodecError, RecordRefused) as error:
        raise ConfigError(f"the bundle is refused: {error}") from None
    return _describe_bundle(bundle)


def parse_roles(words: tuple[str, ...]) -> Role:
    """Return the roles that *words* name; raises `ConfigError`."""
    roles = Role.NONE
    for word in words:
        try:
            roles |= Role[word.upper()]
        except KeyError:
            raise ConfigError(f"{word!r} is no role") from None
    return roles


def _describe_bundle(bundle: Bundle) -> dict[str, Any]:
    try:
        charter = decode_charter(parse_envelope(bundle.charters[-1]).body)
        certificate = decode_certificate(parse_envelope(bundle.certificate).body)
        issuer = None
        if bundle.issuer:
            issuer = decode_issuer(parse_envelope(bundle.issuer).body)
    except CodecError:
        raise ConfigError("the bundle is none that meshnode has made") from None
    return {
        **describe_certificate(certificate, issuer, charter.network_id),
        "paper": "bundle",
        "network": charter.name,
        "cidr": str(charter.cidr),
        "charter": charter.version,
        "contacts": [
            {"key": str(PublicKey(one.key)), "places": list(one.endpoints)}
            for one in bundle.contacts
        ],
    }


def _describe_bundle_text(text: str) -> dict[str, Any]:
    return _describe_bundle(parse_bundle(text))


def _describe_request(text: str) -> dict[str, Any]:
    request = parse_request(text)
    return {
        "paper": "request",
        "name": request.name,
        "key": str(PublicKey(request.wireguard_key)),
        "signingKey": request.signing_key.hex(),
        "groups": list(request.groups),
        "routes": [str(subnet) for subnet in request.subnets],
        "roles": role_names(request.roles),
    }


def _describe_issuer_request(text: str) -> dict[str, Any]:
    request = parse_issuer_request(text)
    return {
        "paper": "issuer request",
        "name": request.name,
        "networkId": request.network_id.hex(),
        "issuingKey": str(PublicKey(request.issuing_key)),
    }


def _describe_permission(text: str) -> dict[str, Any]:
    try:
        issuer = decode_issuer(parse_envelope(parse_permission(text)).body)
    except CodecError:
        raise ConfigError("the permission is none that meshnode has made") from None
    return {"paper": "issuer", **describe_issuer(issuer)}


_READERS: Final = {
    f"{_BEGIN}BUNDLE-----": _describe_bundle_text,
    f"{_BEGIN}REQUEST-----": _describe_request,
    f"{_BEGIN}ISSUER-REQUEST-----": _describe_issuer_request,
    f"{_BEGIN}ISSUER-----": _describe_permission,
}
