"""The invite token: what the issuer gives to who shall join, as one word of text.

`mn1` and base64url without padding of the msgpack array of its fields and a checksum
of four bytes. The checksum is no protection, only the difference between a token that
was mistyped and one that is not for this network.
"""

import base64
import binascii
import ipaddress
import re
from typing import Any, Final

from meshnode.codec.names import check_label
from meshnode.codec.strict import Kind, Layout, label, many, octets, whole
from meshnode.crypto.keys import KEY_BYTES, PrivateKey
from meshnode.crypto.primitives import blake2s
from meshnode.errors import CodecError, ConfigError
from meshnode.values import frozen

MAX_TOKEN_CHARACTERS: Final = 3000
MAX_TOKEN_ENDPOINTS: Final = 8
MAX_HOST_PORT_BYTES: Final = 255

_VERSION: Final = "mn1"
_ANY_VERSION: Final = re.compile(r"mn[0-9]")
_CHECKSUM_SIZE: Final = 4
_HOST_LABEL: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_DAMAGED: Final = "the invite is cut short or mistyped; copy it again, whole"


@frozen
class Token:
    """Everything a joiner needs to reach the issuer and to prove its invitation.

    `network_id` is 16 bytes, `issuer_key` the issuer's WireGuard key, `endpoints`
    1–8 times `HOST:PORT` where the issuer listens (names allowed, IPv6 in brackets),
    `expires` wall seconds, `network` the name of the network.
    """

    network_id: bytes
    invite_private: PrivateKey
    issuer_key: bytes
    endpoints: tuple[str, ...]
    expires: int
    network: str

    def serialise(self) -> str:
        """Return the text; it holds the invite's secret.

        Raises:
            ConfigError: if a field is out of its range.
        """
        check_label(self.network, "the network's name")
        for endpoint in self.endpoints:
            check_host_port(endpoint)
        try:
            body = _LAYOUT.encode(self)
        except CodecError as error:
            raise ConfigError(f"no invite can be made: {error}") from None
        coded = base64.urlsafe_b64encode(body + _checksum(body)).rstrip(b"=")
        return _VERSION + coded.decode("ascii")


def parse_token(text: str) -> Token:
    """Read a token; blanks and line breaks in it do not count.

    Raises:
        ConfigError: saying whether it is no token, one of a later version, or one
            that was cut short or mistyped. The text is never part of the message.
    """
    word = "".join(text.split()) if len(text) <= 2 * MAX_TOKEN_CHARACTERS else ""
    if not _ANY_VERSION.match(word) or len(word) > MAX_TOKEN_CHARACTERS:
        raise ConfigError(f"this is no invite: an invite begins with {_VERSION}")
    if not word.startswith(_VERSION):
        raise ConfigError("the invite is of a later version; upgrade meshnode")
    data = _decode(word.removeprefix(_VERSION))
    body, checksum = data[:-_CHECKSUM_SIZE], data[-_CHECKSUM_SIZE:]
    if checksum != _checksum(body):
        raise ConfigError(_DAMAGED)
    try:
        return _LAYOUT.decode(body)
    except CodecError:
        raise ConfigError("this is no invite that meshnode has made") from None


def check_host_port(text: str) -> str:
    """Return *text* if it is `HOST:PORT`: a name, an IPv4 address or `[IPv6]`.

    Raises:
        ConfigError: with the text and what it should be.
    """
    host, _, port = text.rpartition(":")
    is_port = port.isascii() and port.isdigit() and len(port) <= 5
    is_port = is_port and port[0] != "0" and int(port) <= 65535
    if not is_port or len(text) > MAX_HOST_PORT_BYTES or not _is_host(host):
        raise ConfigError(f"{text[:80]!a} is not HOST:PORT")
    return text


def _is_host(host: str) -> bool:
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ipaddress.ip_address(host[1:-1] if bracketed else host)
    except ValueError:
        labels = host.removesuffix(".").split(".")
        # A last label of digits makes it a mistyped IPv4 address, not a name.
        return not labels[-1].isdigit() and all(map(_HOST_LABEL.fullmatch, labels))
    return bracketed == (address.version == 6) and "%" not in host


def _unpack_host_port(plain: Any) -> str:
    if type(plain) is not str:
        raise ValueError("not a text")
    try:
        return check_host_port(plain)
    except ConfigError as error:
        raise ValueError(str(error)) from None


def _unpack_private(plain: Any) -> PrivateKey:
    raw: bytes = octets(KEY_BYTES).unpack(plain)
    private = PrivateKey(raw)
    if private.reveal() != raw:
        raise ValueError("not a clamped private key")
    return private


HOST_PORT: Final = Kind(_unpack_host_port, _unpack_host_port)
"""The layout of an endpoint that may be a name."""

_LAYOUT: Final = Layout(
    Token,
    octets(16),
    Kind(lambda private: private.reveal(), _unpack_private),
    octets(KEY_BYTES),
    many(HOST_PORT, 1, MAX_TOKEN_ENDPOINTS),
    whole(1, 2**40 - 1),
    label(63),
    max_bytes=MAX_TOKEN_CHARACTERS * 3 // 4,
)


def _checksum(body: bytes) -> bytes:
    return blake2s(_VERSION.encode("ascii") + body)[:_CHECKSUM_SIZE]


def _decode(coded: str) -> bytes:
    try:
        padded = coded.encode("ascii") + b"=" * (-len(coded) % 4)
        data = base64.b64decode(padded, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise ConfigError(_DAMAGED) from None
    # The last character has spare bits; only the canonical form is taken.
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii") != coded:
        raise ConfigError(_DAMAGED)
    return data
