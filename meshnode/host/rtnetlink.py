"""The few rtnetlink messages that watching one interface needs (RFC 3549).

Pure: bytes to values and back. A parser of pyroute2 would cost the supervisor 12
MiB. All integers are in the byte order of the host.
"""

import struct
from collections.abc import Iterable

from meshnode.values import frozen

NLMSG_ERROR = 2
RTM_NEWLINK = 16
RTM_DELLINK = 17
RTM_GETLINK = 18
RTM_NEWNSID = 88
RTM_DELNSID = 89
RTM_GETNSID = 90

NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4

_IFLA_IFNAME = 3
_IFLA_MTU = 4
_IFLA_TARGET_NETNSID = 46
_NETNSA_NSID = 1
_NETNSA_FD = 3
_IFF_UP = 0x1

_MESSAGE = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_ATTRIBUTE = struct.Struct("=HH")  # length, type
_IFINFO = struct.Struct("=BxHiII")  # family, type, index, flags, change
_GENERAL = struct.Struct("=B3x")  # family, padded
_INT = struct.Struct("=i")
_UNSIGNED = struct.Struct("=I")


@frozen
class Message:
    """One netlink message without its header."""

    kind: int
    sequence: int
    body: bytes


@frozen
class LinkState:
    """An interface at one moment: index, name, MTU in bytes, administratively up."""

    index: int
    name: str
    mtu: int
    up: bool


def parse_messages(data: bytes) -> list[Message]:
    """Return the messages in *data*; what follows a malformed one is ignored."""
    messages = []
    offset = 0
    while offset + _MESSAGE.size <= len(data):
        length, kind, _, sequence, _ = _MESSAGE.unpack_from(data, offset)
        if not _MESSAGE.size <= length <= len(data) - offset:
            break
        body = data[offset + _MESSAGE.size : offset + length]
        messages.append(Message(kind, sequence, body))
        offset += _aligned(length)
    return messages


def parse_link(body: bytes) -> LinkState | None:
    """Read the body of RTM_NEWLINK or RTM_DELLINK; None if it is incomplete."""
    if len(body) < _IFINFO.size:
        return None
    _, _, index, flags, _ = _IFINFO.unpack_from(body)
    found = _parse_attributes(body[_IFINFO.size :])
    name, mtu = found.get(_IFLA_IFNAME), found.get(_IFLA_MTU)
    if name is None or mtu is None or len(mtu) < _UNSIGNED.size:
        return None
    return LinkState(
        index,
        name.rstrip(b"\0").decode("utf-8", "replace"),
        _UNSIGNED.unpack_from(mtu)[0],
        bool(flags & _IFF_UP),
    )


def parse_link_index(body: bytes) -> int | None:
    """Return the interface index in the body of a link message."""
    return _IFINFO.unpack_from(body)[2] if len(body) >= _IFINFO.size else None


def parse_nsid(body: bytes) -> int | None:
    """Return the namespace id in the body of RTM_NEWNSID or RTM_DELNSID.

    None stands for "no id was given to that namespace".
    """
    value = _parse_attributes(body[_GENERAL.size :]).get(_NETNSA_NSID)
    if value is None or len(value) < _INT.size:
        return None
    nsid = int(_INT.unpack_from(value)[0])
    return nsid if nsid >= 0 else None


def parse_error(body: bytes) -> int:
    """Return the errno in the body of NLMSG_ERROR, 0 for an acknowledgement."""
    return -int(_INT.unpack_from(body)[0]) if len(body) >= _INT.size else 0


def get_link(name: str, nsid: int | None, sequence: int) -> bytes:
    """Ask for the interface *name*, in the namespace *nsid* or in our own."""
    attributes = [(_IFLA_IFNAME, name.encode("utf-8") + b"\0")]
    if nsid is not None:
        attributes.append((_IFLA_TARGET_NETNSID, _INT.pack(nsid)))
    header = _IFINFO.pack(0, 0, 0, 0, 0)
    return _request(RTM_GETLINK, NLM_F_REQUEST, sequence, header, attributes)


def get_nsid(namespace: int, sequence: int) -> bytes:
    """Ask for the id of the namespace behind the descriptor *namespace*."""
    attributes = [(_NETNSA_FD, _INT.pack(namespace))]
    header = _GENERAL.pack(0)
    return _request(RTM_GETNSID, NLM_F_REQUEST, sequence, header, attributes)


def new_nsid(namespace: int, sequence: int) -> bytes:
    """Ask the kernel to give that namespace an id of its choice."""
    attributes = [(_NETNSA_NSID, _INT.pack(-1)), (_NETNSA_FD, _INT.pack(namespace))]
    header = _GENERAL.pack(0)
    flags = NLM_F_REQUEST | NLM_F_ACK
    return _request(RTM_NEWNSID, flags, sequence, header, attributes)


def _request(
    kind: int,
    flags: int,
    sequence: int,
    header: bytes,
    attributes: Iterable[tuple[int, bytes]],
) -> bytes:
    body = header + b"".join(_attribute(key, value) for key, value in attributes)
    length = _MESSAGE.size + len(body)
    return _MESSAGE.pack(length, kind, flags, sequence, 0) + body


def _attribute(kind: int, value: bytes) -> bytes:
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + bytes(_aligned(length) - length)


def _parse_attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    offset = 0
    while offset + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if not _ATTRIBUTE.size <= length <= len(data) - offset:
            break
        found[kind] = data[offset + _ATTRIBUTE.size : offset + length]
        offset += _aligned(length)
    return found


def _aligned(length: int) -> int:
    return (length + 3) & ~3
