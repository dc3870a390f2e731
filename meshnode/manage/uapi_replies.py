"""Replies of the userspace API: status and error numbers to bytes.

The sign of `errno` is as `wg` reads it: positive for `get`, negative for `set`. No
value may hold a `=`, which wgctrl takes for a broken line.
"""

from collections.abc import Iterator

from meshnode.manage.uapi_values import format_prefix
from meshnode.wireguard.config import DeviceStatus, PeerStatus

_PREFIXES_A_CHUNK = 2048  # about 5 ms of work, then others may run


def serialise_errno_get(number: int) -> bytes:
    """Return the end of a `get` reply; *number* is positive, 0 for success."""
    return b"errno=%d\n\n" % number


def serialise_errno_set(number: int) -> bytes:
    """Return the whole reply to a `set`; *number* is positive, 0 for success."""
    return b"errno=%d\n\n" % -number


def serialise_status(status: DeviceStatus) -> bytes:
    """Return the whole successful reply to a `get`.

    It holds the private key: `wg` derives the interface's public key from it.
    """
    return b"".join(status_chunks(status))


def status_chunks(status: DeviceStatus) -> Iterator[bytes]:
    """Yield the successful reply to a `get` in pieces of bounded size."""
    yield _lines(_device_lines(status))
    for peer in status.peers:
        yield _lines(_peer_lines(peer))
        for start in range(0, len(peer.allowed_ips), _PREFIXES_A_CHUNK):
            piece = peer.allowed_ips[start : start + _PREFIXES_A_CHUNK]
            yield _lines([f"allowed_ip={format_prefix(prefix)}" for prefix in piece])
    yield serialise_errno_get(0)


def _lines(lines: list[str]) -> bytes:
    return "".join([f"{line}\n" for line in lines]).encode()


def _device_lines(status: DeviceStatus) -> list[str]:
    lines = []
    if status.private_key is not None:
        lines.append(f"private_key={status.private_key.reveal().hex()}")
    if status.listen_port:
        lines.append(f"listen_port={status.listen_port}")
    if status.fwmark:
        lines.append(f"fwmark={status.fwmark}")
    return lines


def _peer_lines(peer: PeerStatus) -> list[str]:
    seconds, nanoseconds = peer.last_handshake
    if seconds:
        # wgctrl takes zero nanoseconds for "never".
        nanoseconds = max(nanoseconds, 1)
    lines = [
        f"public_key={peer.public_key.raw.hex()}",
        f"preshared_key={peer.preshared_key.reveal().hex()}",
        "protocol_version=1",
    ]
    if peer.endpoint is not None:
        lines.append(f"endpoint={peer.endpoint}")
    lines += [
        f"last_handshake_time_sec={seconds}",
        f"last_handshake_time_nsec={nanoseconds}",
        f"tx_bytes={peer.sent_bytes}",
        f"rx_bytes={peer.received_bytes}",
        f"persistent_keepalive_interval={peer.persistent_keepalive}",
    ]
    return lines
