"""The blocks of pcapng, byte by byte where it matters, and as Wireshark reads them."""

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from meshnode.capture import pcapng
from tests.inner_packets import udp_packet

needs_wireshark = pytest.mark.skipif(
    shutil.which("tshark") is None, reason="tshark is not installed"
)
TIME = 1_700_000_000_123_456_789


def blocks(data: bytes) -> list[tuple[int, bytes]]:
    """Take blocks apart: type and body; both lengths must agree."""
    found = []
    while data:
        kind, size = struct.unpack_from("<II", data)
        assert size % 4 == 0
        assert struct.unpack_from("<I", data, size - 4) == (size,)
        found.append((kind, data[8 : size - 4]))
        data = data[size:]
    return found


def options(data: bytes) -> dict[int, bytes]:
    """Take the options apart that a body ends with."""
    found = {}
    while True:
        code, size = struct.unpack_from("<HH", data)
        if code == 0:
            assert data == bytes(4)
            return found
        found[code] = data[4 : 4 + size]
        data = data[4 + size + -size % 4 :]


def test_a_packet_has_its_options() -> None:
    """Comment, direction, and what was lost before it."""
    [(kind, body)] = blocks(
        pcapng.packet(2, TIME, b"12345", 99, direction=1, comment="hé", dropped=7)
    )
    assert kind == 6
    number, high, low, kept, length = struct.unpack_from("<IIIII", body)
    assert (number, high << 32 | low, kept, length) == (2, TIME, 5, 99)
    assert body[20:28] == b"12345\0\0\0"
    assert options(body[28:]) == {
        1: "hé".encode(),
        2: struct.pack("<I", 1),
        4: struct.pack("<Q", 7),
    }


def test_a_packet_with_nothing_to_say_has_its_direction() -> None:
    """And a comment that is too long is cut between two characters."""
    [(_, body)] = blocks(pcapng.packet(0, TIME, b"", 0, direction=2))
    assert options(body[20:]) == {2: struct.pack("<I", 2)}
    [(_, body)] = blocks(
        pcapng.packet(0, TIME, b"", 0, direction=2, comment="a" + "é" * 1000)
    )
    assert options(body[20:])[1].decode() == "a" + "é" * 511


def test_secrets_are_filled_up() -> None:
    """Their length is that of the text."""
    [(kind, body)] = blocks(pcapng.secrets(pcapng.WIREGUARD_KEY_LOG, b"key\n!"))
    assert kind == 10
    assert body == b"LKGW" + struct.pack("<I", 5) + b"key\n!\0\0\0"


@needs_wireshark
def test_wireshark_reads_the_file(tmp_path: Path) -> None:
    """Interfaces, times to the nanosecond, comments, and statistics."""
    path = tmp_path / "one.pcapng"
    data = udp_packet(4, b"hello")
    path.write_bytes(
        pcapng.section("meshnode test")
        + pcapng.interface("tunnel-in", "what comes", snaplen=96)
        + pcapng.interface("tunnel-out", "what goes", snaplen=96)
        + pcapng.packet(1, TIME, data, len(data), direction=2, comment="peer=paris")
        + pcapng.packet(0, TIME + 1, data[:22], len(data), direction=1, dropped=3)
        + pcapng.statistics(
            0, start_ns=TIME, end_ns=TIME + 9, received=4, dropped=3, kept=1
        )
    )
    fields = ("frame.time_epoch", "frame.interface_name", "frame.comment", "udp.port")
    result = _run("tshark", "-n", "-r", str(path), "-T", "fields", *_each("-e", fields))
    rows = [line.split("\t") for line in result.splitlines()]
    assert rows[0] == ["1700000000.123456789", "tunnel-out", "peer=paris", "1000,2000"]
    assert rows[1][:3] == ["1700000000.123456790", "tunnel-in", ""]
    info = _run("capinfos", str(path))
    assert "meshnode test" in info
    assert "Number of packets:   2" in info
    assert "Capture length = 96" in info
    assert "Name = tunnel-in" in info


def _each(flag: str, words: tuple[str, ...]) -> list[str]:
    return [part for word in words for part in (flag, word)]


def _run(*words: str) -> str:
    return subprocess.run(
        words, capture_output=True, text=True, timeout=60, check=True
    ).stdout
