"""WireGuard's cross-platform userspace API: bytes to requests.

Requests and replies are lines `key=value`, ended by an empty line, on a Unix stream
socket (wireguard.com/xplatform). `wg`, `wg-quick` and every tool built on wgctrl
speak it. This module reads the requests and does no I/O: `RequestParser` takes bytes
as they arrive, in pieces of any size. `meshnode.manage.uapi_replies` writes the
replies.

A request is parsed whole before anything is made of it. Of a request with a bad
line the rest is read and thrown away, so that the connection stays in step.
"""

import errno
from collections.abc import Callable

from meshnode.crypto.keys import PresharedKey, PrivateKey, PublicKey
from meshnode.errors import ConfigError
from meshnode.manage.uapi_values import (
    ZoneIndex,
    parse_endpoint,
    parse_number,
    parse_prefix,
    parse_text,
    parse_true,
)
from meshnode.values import frozen
from meshnode.wireguard.config import DeviceChange, PeerChange

MAX_LINE = 1024
"""Bytes of a line; the longest real one, an IPv6 endpoint, has fewer than 100."""

MAX_REQUEST = 32 * 2**20
"""Bytes of one request: 65,000 peers with all values, or a million allowed IPs.

Parsed, the worst of that size takes 300 MiB.
"""

_ZERO_KEY = bytes(32)


@frozen
class GetRequest:
    """Tell the whole status."""


@frozen
class SetRequest:
    """Apply *change*, all of it or nothing."""

    change: DeviceChange


@frozen
class BadRequest:
    """A request to answer with *errno* (positive here); nothing is to be done.

    `reason` is for a log: it names the line, never its content, which may be a key.
    """

    errno: int
    is_get: bool
    reason: str


@frozen
class UnknownRequest:
    """Neither `get=1` nor `set=1`: to be closed without an answer."""


Request = GetRequest | SetRequest | BadRequest | UnknownRequest


def _refuse_zone_name(name: str) -> int:
    raise OSError(f"no interface {name}")


class RequestParser:
    """Read the requests of one connection.

    After an unknown request, or one beyond the limits, `is_closed` is true and
    nothing more is read: there is no telling where the next request would begin.

    Args:
        zone_index: resolves interface names in IPv6 endpoints; by default none.
    """

    def __init__(self, zone_index: ZoneIndex = _refuse_zone_name) -> None:
        self._zone_index = zone_index
        self._partial = b""
        self._request: _GetLines | _SetLines | None = None
        self._request_bytes = 0
        self.is_closed = False

    def feed(self, data: bytes) -> list[Request]:
        """Take *data* and return the requests that it completes; never raises."""
        requests: list[Request] = []
        if self.is_closed:
            return requests
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            request = self._take_line(line)
            if request is not None:
                requests.append(request)
            if self.is_closed:
                return requests
        if len(self._partial) > MAX_LINE:
            requests.append(self._give_up("a line is too long"))
        return requests

    def _take_line(self, line: bytes) -> Request | None:
        self._request_bytes += len(line) + 1
        if len(line) > MAX_LINE:
            return self._give_up("a line is too long")
        if self._request_bytes > MAX_REQUEST:
            return self._give_up("the request is too long")
        if self._request is None:
            return self._begin(line)
        if line:
            self._request.take(line)
            return None
        request = self._request.finish()
        self._request, self._request_bytes = None, 0
        return request

    def _begin(self, line: bytes) -> Request | None:
        if line == b"get=1":
            self._request = _GetLines()
        elif line == b"set=1":
            self._request = _SetLines(self._zone_index)
        else:
            self._close()
            return UnknownRequest()
        return None

    def _give_up(self, reason: str) -> Request:
        request = self._request
        self._close()
        if request is None:
            return UnknownRequest()
        return BadRequest(errno.EINVAL, is_get=request.is_get, reason=reason)

    def _close(self) -> None:
        self.is_closed = True
        self._partial, self._request = b"", None


class _GetLines:
    """The lines of a `get`: there are none."""

    is_get = True

    def __init__(self) -> None:
        self._has_text = False

    def take(self, line: bytes) -> None:
        self._has_text = True

    def finish(self) -> Request:
        if self._has_text:
            return BadRequest(errno.EINVAL, is_get=True, reason="text after get=1")
        return GetRequest()


class _SetLines:
    """The lines of a `set`, gathered into a `DeviceChange`."""

    is_get = False

    def __init__(self, zone_index: ZoneIndex) -> None:
        self._zone_index = zone_index
        self._change = DeviceChange()
        self._peer: PeerChange | None = None
        self._lines = 1
        self._bad: BadRequest | None = None

    def take(self, line: bytes) -> None:
        self._lines += 1
        if self._bad is not None:
            return
        key, equals, value = line.partition(b"=")
        if not equals:
            self._refuse(errno.EPROTO, "has no '='")
            return
        try:
            is_known = self._apply(key, value)
        except ConfigError as error:
            self._refuse(error.errno, "has a bad value")
        else:
            if not is_known:
                self._refuse(errno.EINVAL, "has an unknown key")

    def finish(self) -> Request:
        return self._bad or SetRequest(self._change)

    def _apply(self, key: bytes, value: bytes) -> bool:
        if key == b"public_key":
            self._peer = PeerChange(PublicKey.from_hex(parse_text(value)))
            self._change.peers.append(self._peer)
        elif self._peer is None and key in _DEVICE_KEYS:
            _DEVICE_KEYS[key](self._change, value)
        elif self._peer is not None and key in _PEER_KEYS:
            _PEER_KEYS[key](self._peer, value)
        elif self._peer is not None and key == b"endpoint":
            self._peer.endpoint = parse_endpoint(value, self._zone_index)
        else:
            return False
        return True

    def _refuse(self, number: int, what: str) -> None:
        reason = f"line {self._lines} {what}"
        self._bad = BadRequest(number, is_get=False, reason=reason)
        self._change, self._peer = DeviceChange(), None


def _set_private_key(change: DeviceChange, value: bytes) -> None:
    # Zeros must be seen before the key is clamped, which makes them a key.
    is_clear = value == _ZERO_KEY.hex().encode()
    key = None if is_clear else PrivateKey.from_hex(parse_text(value))
    change.private_key, change.clear_private_key = key, is_clear


def _set_listen_port(change: DeviceChange, value: bytes) -> None:
    change.listen_port = parse_number(value, 0xFFFF)


def _set_fwmark(change: DeviceChange, value: bytes) -> None:
    change.fwmark = parse_number(value, 0xFFFFFFFF)


def _set_replace_peers(change: DeviceChange, value: bytes) -> None:
    change.replace_peers = parse_true(value)


def _set_remove(peer: PeerChange, value: bytes) -> None:
    peer.remove = parse_true(value)


def _set_update_only(peer: PeerChange, value: bytes) -> None:
    peer.update_only = parse_true(value)


def _set_preshared_key(peer: PeerChange, value: bytes) -> None:
    peer.preshared_key = PresharedKey.from_hex(parse_text(value))


def _set_keepalive(peer: PeerChange, value: bytes) -> None:
    peer.persistent_keepalive = parse_number(value, 0xFFFF)


def _set_replace_allowed_ips(peer: PeerChange, value: bytes) -> None:
    peer.replace_allowed_ips = parse_true(value)


def _set_allowed_ip(peer: PeerChange, value: bytes) -> None:
    if value.startswith(b"-"):
        peer.allowed_ips.append((False, parse_prefix(value[1:])))
    else:
        peer.allowed_ips.append((True, parse_prefix(value)))


def _set_protocol_version(peer: PeerChange, value: bytes) -> None:
    if value != b"1":
        raise ConfigError("only protocol version 1 is known")


_DEVICE_KEYS: dict[bytes, Callable[[DeviceChange, bytes], None]] = {
    b"private_key": _set_private_key,
    b"listen_port": _set_listen_port,
    b"fwmark": _set_fwmark,
    b"replace_peers": _set_replace_peers,
}

_PEER_KEYS: dict[bytes, Callable[[PeerChange, bytes], None]] = {
    b"remove": _set_remove,
    b"update_only": _set_update_only,
    b"preshared_key": _set_preshared_key,
    b"persistent_keepalive_interval": _set_keepalive,
    b"replace_allowed_ips": _set_replace_allowed_ips,
    b"allowed_ip": _set_allowed_ip,
    b"protocol_version": _set_protocol_version,
}
