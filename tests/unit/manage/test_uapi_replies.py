"""Replies of the userspace API, byte for byte."""

from meshnode.crypto.keys import PresharedKey, PrivateKey, PublicKey
from meshnode.manage.uapi_replies import (
    serialise_errno_get,
    serialise_errno_set,
    serialise_status,
    status_chunks,
)
from meshnode.types import Endpoint, Prefix
from meshnode.wireguard.config import DeviceStatus, PeerStatus

PRIVATE = PrivateKey(bytes(range(32)))


def peer(**changes: object) -> PeerStatus:
    """A peer that has done nothing, but for *changes*."""
    values: dict[str, object] = {
        "public_key": PublicKey(b"\xaa" * 32),
        "preshared_key": PresharedKey.none(),
        "endpoint": None,
        "last_handshake": (0, 0),
        "sent_bytes": 0,
        "received_bytes": 0,
        "persistent_keepalive": 0,
        "allowed_ips": [],
    }
    return PeerStatus(**{**values, **changes})  # type: ignore[arg-type]


def test_an_empty_device_tells_success_only() -> None:
    """No key, no port and no mark are left out."""
    assert serialise_status(DeviceStatus(None, 0, 0, [])) == b"errno=0\n\n"


def test_a_full_status_has_all_lines_in_order() -> None:
    """Device first, then each peer, begun by its public key."""
    status = DeviceStatus(
        PRIVATE,
        51820,
        0xCAFE,
        [
            peer(
                preshared_key=PresharedKey(b"\xbb" * 32),
                endpoint=Endpoint("fe80::1", 7, 2),
                last_handshake=(1_700_000_000, 5),
                sent_bytes=1460,
                received_bytes=1372,
                persistent_keepalive=25,
                allowed_ips=[Prefix.parse("10.0.0.0/8"), Prefix.parse("fd00::/64")],
            ),
            peer(public_key=PublicKey(b"\xcc" * 32), endpoint=Endpoint("1.2.3.4", 5)),
        ],
    )
    assert serialise_status(status).decode().splitlines() == [
        f"private_key={PRIVATE.reveal().hex()}",
        "listen_port=51820",
        "fwmark=51966",
        f"public_key={'aa' * 32}",
        f"preshared_key={'bb' * 32}",
        "protocol_version=1",
        "endpoint=[fe80::1%2]:7",
        "last_handshake_time_sec=1700000000",
        "last_handshake_time_nsec=5",
        "tx_bytes=1460",
        "rx_bytes=1372",
        "persistent_keepalive_interval=25",
        "allowed_ip=10.0.0.0/8",
        "allowed_ip=fd00::/64",
        f"public_key={'cc' * 32}",
        f"preshared_key={'00' * 32}",
        "protocol_version=1",
        "endpoint=1.2.3.4:5",
        "last_handshake_time_sec=0",
        "last_handshake_time_nsec=0",
        "tx_bytes=0",
        "rx_bytes=0",
        "persistent_keepalive_interval=0",
        "errno=0",
        "",
    ]


def test_a_handshake_at_a_whole_second_is_not_never() -> None:
    """A client, wgctrl, ignores a handshake with zero nanoseconds, so it gets one."""
    reply = serialise_status(DeviceStatus(None, 0, 0, [peer(last_handshake=(9, 0))]))
    assert b"last_handshake_time_sec=9\nlast_handshake_time_nsec=1\n" in reply


def test_the_sign_of_errno_is_as_wg_reads_it() -> None:
    """Positive for get, negative for set, and zero has none."""
    assert serialise_errno_get(22) == b"errno=22\n\n"
    assert serialise_errno_set(22) == b"errno=-22\n\n"
    assert serialise_errno_get(0) == serialise_errno_set(0) == b"errno=0\n\n"


def test_chunks_are_bounded_and_lose_nothing() -> None:
    """A huge peer comes in many pieces that make up the whole."""
    prefixes = [Prefix(6, n, 128) for n in range(10_000)]
    status = DeviceStatus(None, 0, 0, [peer(allowed_ips=prefixes)])
    chunks = list(status_chunks(status))
    assert max(map(len, chunks)) < 128 * 1024
    assert b"".join(chunks) == serialise_status(status)
    assert b"".join(chunks).count(b"allowed_ip=") == 10_000


def test_every_line_has_one_equals_sign() -> None:
    """A client, wgctrl, refuses a line with more."""
    status = DeviceStatus(PRIVATE, 1, 1, [peer(endpoint=Endpoint("::1", 1))])
    lines = serialise_status(status).decode().splitlines()
    assert {line.count("=") for line in lines if line} == {1}
