"""Configuration files of wg-quick(8): read strictly, and written for a device.

    [Interface]                      # laptop
    PrivateKey = gOsn…               [Peer]
    Address = 10.77.0.9/32           PublicKey = xTIB…
    ListenPort = 51820               AllowedIPs = 10.0.0.0/8, fd00::/8
                                     Endpoint = vpn.example.org:51820

Names of sections and keys are read in any case, as `wg` does. What `wg` would refuse
is refused, and so is what cannot be carried over; keys that concern the host alone
(PostUp and the like) are returned by name, so that their loss can be told.
"""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import field
from typing import Final

from meshnode.crypto.keys import PresharedKey, PrivateKey, PublicKey
from meshnode.errors import ConfigError
from meshnode.manage.config_values import HostPort
from meshnode.types import Prefix
from meshnode.values import frozen

MAX_CHARACTERS: Final = 2**18
MAX_PEERS: Final = 1024
MAX_ALLOWED_IPS: Final = 1024

_NAME = re.compile(r"(?:name\s*[=:]\s*)?([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)", re.I)
_HOST_KEYS = (
    *("dns", "mtu", "table", "preup", "postup", "predown", "postdown"),
    *("saveconfig", "fwmark"),
)


@frozen
class WgPeer:
    """One [Peer]; `name` is what the comment above it says, "" if none does.

    `preshared_key` is None if there is none, `keepalive` seconds, 0 for off.
    """

    public_key: PublicKey
    name: str = ""
    preshared_key: PresharedKey | None = field(default=None, repr=False)
    endpoint: HostPort | None = None
    allowed_ips: tuple[Prefix, ...] = ()
    keepalive: int = 0


@frozen
class WgConfig:
    """A whole file. `listen_port` is 0 and `private_key` None if it has none.

    `addresses` keep their host bits, as `ADDRESS/LENGTH`; `left_out` are the keys
    that only wg-quick understands, in lower case and in order, each once.
    """

    private_key: PrivateKey | None = field(default=None, repr=False)
    listen_port: int = 0
    addresses: tuple[str, ...] = ()
    peers: tuple[WgPeer, ...] = ()
    left_out: tuple[str, ...] = ()


def parse_wg_config(text: str) -> WgConfig:
    """Read a file; nothing of one with an error is used.

    Raises:
        ConfigError: with the number of the line and what is wrong; never with a
            secret.
    """
    if len(text) > MAX_CHARACTERS:
        raise ConfigError(f"the file has more than {MAX_CHARACTERS} characters")
    reader = _Reader()
    for number, line in enumerate(text.split("\n"), 1):
        try:
            reader.read(line)
        except ConfigError as error:
            raise ConfigError(f"line {number}: {error}") from None
    return reader.finish()


def serialise_device(
    *,
    private_key: PrivateKey | None,
    addresses: tuple[str, ...],
    peer_key: str,
    endpoint: str,
    allowed_ips: tuple[str, ...],
    keepalive: int,
) -> str:
    """Return the file of a device that reaches the network through one member.

    *private_key* is None if the device keeps it to itself; *endpoint* is "" if nobody
    knows where the member is.
    """
    lines = [
        "[Interface]",
        "# PrivateKey = (the device's own)"
        if private_key is None
        else f"PrivateKey = {private_key.to_base64()}",
        f"Address = {', '.join(addresses)}",
        "",
        "[Peer]",
        f"PublicKey = {peer_key}",
        f"AllowedIPs = {', '.join(allowed_ips)}",
    ]
    if endpoint:
        lines.append(f"Endpoint = {endpoint}")
    lines.append(f"PersistentKeepalive = {keepalive}")
    return "\n".join(lines) + "\n"


class _Reader:
    """Takes the lines of a file one by one."""

    def __init__(self) -> None:
        self._section = ""
        self._seen: set[str] = set()
        self._comment = ""
        self._interface: dict[str, object] = {}
        self._has_interface = False
        self._addresses: list[str] = []
        self._left_out: dict[str, None] = {}
        self._peers: list[WgPeer] = []
        self._peer: dict[str, object] = {}
        self._allowed: list[Prefix] = []

    def read(self, line: str) -> None:
        text, hash_mark, comment = line.strip().partition("#")
        text = text.strip()
        if not text:
            if hash_mark:
                self._comment = comment.strip()
            return
        if not text.isprintable():
            raise ConfigError("it has a character that cannot be printed")
        if text.startswith("["):
            self._begin(text.lower())
            return
        key, equals, value = text.partition("=")
        key, value = key.strip().lower(), value.strip()
        if not equals or not value:
            raise ConfigError("it is neither a section nor KEY = VALUE")
        if self._section == "[interface]":
            self._read_interface(key, value)
        elif self._section == "[peer]":
            self._read_peer(key, value)
        else:
            raise ConfigError("it comes before [Interface] and [Peer]")
        self._comment = ""

    def finish(self) -> WgConfig:
        self._end_peer()
        return WgConfig(
            addresses=tuple(self._addresses),
            peers=tuple(self._peers),
            left_out=tuple(self._left_out),
            **self._interface,  # type: ignore[arg-type]
        )

    def _begin(self, section: str) -> None:
        if section not in ("[interface]", "[peer]"):
            raise ConfigError("it is no section that wg-quick knows")
        self._end_peer()
        if section == "[interface]":
            if self._has_interface:
                raise ConfigError("[Interface] is there twice")
            self._has_interface = True
        else:
            if len(self._peers) >= MAX_PEERS:
                raise ConfigError(f"the file has more than {MAX_PEERS} peers")
            match = _NAME.fullmatch(self._comment)
            self._peer = {"name": match[1].lower() if match else ""}
        self._section, self._comment = section, ""
        self._seen = set()

    def _read_interface(self, key: str, value: str) -> None:
        if key in _HOST_KEYS:
            self._left_out[key] = None
        elif key == "address":
            self._addresses += [_address(part) for part in _parts(value)]
        elif key == "privatekey":
            self._interface["private_key"] = self._once(
                key, value, PrivateKey.from_base64
            )
        elif key == "listenport":
            self._interface["listen_port"] = self._once(key, value, _port)
        else:
            raise ConfigError("it is no key of [Interface] that wg-quick knows")

    def _read_peer(self, key: str, value: str) -> None:
        peer = self._peer
        if key == "allowedips":
            self._allowed += [Prefix.parse(part) for part in _parts(value)]
            if len(self._allowed) > MAX_ALLOWED_IPS:
                raise ConfigError(f"the peer has more than {MAX_ALLOWED_IPS} prefixes")
        elif key == "publickey":
            peer["public_key"] = self._once(key, value, PublicKey.from_base64)
        elif key == "presharedkey":
            preshared = self._once(key, value, PresharedKey.from_base64)
            is_none = preshared == PresharedKey.none()
            peer["preshared_key"] = None if is_none else preshared
        elif key == "endpoint":
            peer["endpoint"] = self._once(key, value, _endpoint)
        elif key == "persistentkeepalive":
            peer["keepalive"] = self._once(key, value, _keepalive)
        else:
            raise ConfigError("it is no key of [Peer] that wg knows")

    def _once(self, key: str, value: str, read: Callable[[str], object]) -> object:
        if key in self._seen:
            raise ConfigError("the key is there twice in its section")
        self._seen.add(key)
        return read(value)

    def _end_peer(self) -> None:
        if self._section != "[peer]":
            return
        if "public_key" not in self._peer:
            raise ConfigError("the peer that ends here has no PublicKey")
        allowed = tuple(dict.fromkeys(self._allowed))
        peer = WgPeer(allowed_ips=allowed, **self._peer)  # type: ignore[arg-type]
        if any(peer.public_key == known.public_key for known in self._peers):
            raise ConfigError(f"the peer {peer.public_key} is there twice")
        self._peers.append(peer)
        self._peer, self._allowed = {}, []
        self._section = ""


def _parts(value: str) -> list[str]:
    parts = [part.strip() for part in value.split(",")]
    if not all(parts):
        raise ConfigError("its list has an empty element")
    return parts


def _address(text: str) -> str:
    try:
        if "%" in text:
            raise ValueError
        return str(ipaddress.ip_interface(text))
    except ValueError:
        raise ConfigError("it has no ADDRESS/LENGTH") from None


def _number(text: str, greatest: int) -> int | None:
    is_number = text.isascii() and text.isdigit() and len(text) <= 5
    return int(text) if is_number and int(text) <= greatest else None


def _port(text: str) -> int:
    port = _number(text, 65535)
    if port is None:
        raise ConfigError("it has no port of 0 to 65535")
    return port


def _keepalive(text: str) -> int:
    if text.lower() == "off":
        return 0
    seconds = _number(text, 65535)
    if seconds is None:
        raise ConfigError('it has neither seconds of 0 to 65535 nor "off"')
    return seconds


def _endpoint(text: str) -> HostPort:
    try:
        return HostPort.parse(text)
    except ConfigError as error:
        raise ConfigError(f"its endpoint {error}") from None
