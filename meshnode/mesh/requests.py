"""Joining without a connection to the issuer: a request file there, a bundle back.

A *request* is what a host asks to be certified for, signed by its own signing key. It
does not prove the WireGuard key, so whoever signs it must know whom it came from. A
*bundle* is all a new member needs: charters, certificate and whom to talk to first.
Neither holds a secret.
"""

from typing import Final

from meshnode.codec.records import (
    MAX_ENVELOPE_BYTES,
    MAX_GROUP_BYTES,
    MAX_GROUPS,
    MAX_NAME_BYTES,
    MAX_SUBNETS,
    Role,
)
from meshnode.codec.strict import (
    PREFIX,
    Layout,
    flags,
    label,
    many,
    octets,
    record,
)
from meshnode.crypto.keys import KEY_BYTES
from meshnode.crypto.signing import SIGNATURE_SIZE, SigningKey, verify
from meshnode.errors import AuthenticationError, CodecError, ConfigError
from meshnode.mesh.armour import armour, unarmour
from meshnode.mesh.charters import MAX_CHARTERS
from meshnode.mesh.token import HOST_PORT, MAX_TOKEN_ENDPOINTS
from meshnode.types import Prefix
from meshnode.values import frozen

FORMAT: Final = 1
MAX_CONTACTS: Final = 8
MAX_REQUEST_BYTES: Final = 2048
MAX_BUNDLE_BYTES: Final = 65536

_LABEL: Final = b"meshnode/1 request"


@frozen
class Request:
    """What a host asks for: its name and keys, and what it would like to be granted."""

    name: str
    wireguard_key: bytes
    signing_key: bytes
    groups: tuple[str, ...] = ()
    subnets: tuple[Prefix, ...] = ()
    roles: Role = Role.NONE


@frozen
class Contact:
    """A member to talk to first: its WireGuard key and `HOST:PORT`s."""

    key: bytes
    endpoints: tuple[str, ...]


@frozen
class Bundle:
    """What makes a host a member; the envelopes are not verified here.

    `charters` is the chain from version 1, `issuer` b"" if an authority signed.
    """

    charters: tuple[bytes, ...]
    certificate: bytes
    issuer: bytes
    contacts: tuple[Contact, ...]


@frozen
class _SignedRequest:
    body: bytes
    signature: bytes


_REQUEST: Final = Layout(
    Request,
    label(MAX_NAME_BYTES),
    octets(KEY_BYTES),
    octets(KEY_BYTES),
    many(label(MAX_GROUP_BYTES), 0, MAX_GROUPS),
    many(PREFIX, 0, MAX_SUBNETS),
    flags(Role),
    max_bytes=MAX_REQUEST_BYTES,
)
_SIGNED_REQUEST: Final = Layout(
    _SignedRequest,
    octets(1, MAX_REQUEST_BYTES),
    octets(SIGNATURE_SIZE),
    max_bytes=MAX_REQUEST_BYTES,
)
_BUNDLE: Final = Layout(
    Bundle,
    many(octets(1, MAX_ENVELOPE_BYTES), 1, MAX_CHARTERS),
    octets(1, MAX_ENVELOPE_BYTES),
    octets(0, MAX_ENVELOPE_BYTES),
    many(
        record(Contact, octets(KEY_BYTES), many(HOST_PORT, 1, MAX_TOKEN_ENDPOINTS)),
        0,
        MAX_CONTACTS,
    ),
    max_bytes=MAX_BUNDLE_BYTES,
)


def serialise_request(request: Request, signing_key: SigningKey) -> str:
    """Return the request's file, signed by the key that the request names.

    Raises:
        ConfigError: if a field is out of range.
    """
    if signing_key.public != request.signing_key:
        raise ValueError("a request is signed by the key it names")
    try:
        body = _REQUEST.encode(request)
    except CodecError as error:
        raise ConfigError(f"the request cannot be made: {error}") from None
    signed = _SignedRequest(body, signing_key.sign(_LABEL + body))
    return armour("request", bytes([FORMAT]) + _SIGNED_REQUEST.encode(signed))


def parse_request(text: str) -> Request:
    """Read a request's file and check its signature.

    Raises:
        ConfigError: saying what is wrong with it.
    """
    data = _unarmour("request", text, MAX_REQUEST_BYTES)
    try:
        signed = _SIGNED_REQUEST.decode(data)
        request = _REQUEST.decode(signed.body)
        verify(request.signing_key, _LABEL + signed.body, signed.signature)
    except CodecError:
        raise ConfigError("the request is none that meshnode has made") from None
    except AuthenticationError:
        raise ConfigError("the request's signature is wrong; make it again") from None
    return request


def serialise_bundle(bundle: Bundle) -> str:
    """Return the bundle's file.

    Raises:
        ConfigError: if a field is out of range.
    """
    try:
        data = _BUNDLE.encode(bundle)
    except CodecError as error:
        raise ConfigError(f"the bundle cannot be made: {error}") from None
    return armour("bundle", bytes([FORMAT]) + data)


def parse_bundle(text: str) -> Bundle:
    """Read a bundle's file; whoever uses it verifies the envelopes.

    Raises:
        ConfigError: saying what is wrong with it.
    """
    data = _unarmour("bundle", text, MAX_BUNDLE_BYTES)
    try:
        return _BUNDLE.decode(data)
    except CodecError:
        raise ConfigError("the bundle is none that meshnode has made") from None


def _unarmour(what: str, text: str, max_bytes: int) -> bytes:
    # The first byte is the format, so that a later one is told from a damaged file.
    data = unarmour(what, text, max_bytes=1 + max_bytes)
    if data[0] != FORMAT:
        raise ConfigError(f"the {what} is of a later version; upgrade meshnode")
    return data[1:]
