"""Commands and reports as bytes: known encodings and strict refusals."""

from dataclasses import replace
from typing import Any

import msgpack
import pytest

from meshnode import forwarding
from meshnode.codec.forwarding import (
    MAX_ITEMS,
    MAX_MESSAGE_BYTES,
    decode_command,
    decode_report,
    encode_command,
    encode_report,
    split_allowed_ips,
)
from meshnode.errors import CodecError
from meshnode.forwarding import (
    AddAllowedIps,
    AddPeer,
    Command,
    ControlReceived,
    EndpointMoved,
    HeldSession,
    InstallSession,
    ProgramComplete,
    RemoveAllowedIps,
    SendControl,
    SendProbe,
    Session,
    SessionsHeld,
    SetEndpoint,
    SetLink,
    ShareOfPrefix,
    SharePrefix,
    UnsharePrefix,
)
from meshnode.types import Cipher, Endpoint, Path, Prefix, Source

KEY = bytes(range(32))
SESSION = Session(7, 2**32 - 1, KEY, KEY[::-1], 12.5, True)


def test_known_bytes_of_small_commands() -> None:
    """A command is an array of its number and its fields."""
    assert encode_command(ProgramComplete()).hex() == "9102"
    assert encode_command(SetLink(1420, True)).hex() == "9303cd058cc3"
    assert encode_command(AddPeer(65535)).hex() == "9305cdffffc2"


def test_known_bytes_of_an_endpoint() -> None:
    """Addresses travel as their octets, a path as two lists."""
    path = Path(Endpoint("192.0.2.1", 51820), Source("fe80::1", 3))
    encoded = encode_report(EndpointMoved(1, path))
    endpoint = "93" + "c404c0000201" + "cdca6c" + "00"
    source = "93" + "c410fe80" + "00" * 13 + "01" + "03" + "00"
    assert encoded.hex() == "93" + "03" + "01" + "92" + endpoint + source
    assert decode_report(encoded) == EndpointMoved(1, path)


def test_known_bytes_of_prefixes() -> None:
    """A prefix is its length and then its network."""
    command = AddAllowedIps(0, (Prefix.parse("10.0.0.0/8"), Prefix.parse("::/0")))
    encoded = encode_command(command)
    prefixes = "92" + "c405080a000000" + "c41100" + "00" * 16
    assert encoded.hex() == "93" + "08" + "00" + prefixes
    assert decode_command(encoded) == command


def test_every_value_has_a_number() -> None:
    """No command or report was forgotten, and the directions are apart."""
    for kind in Command.__args__:
        with pytest.raises(CodecError):
            encode_report(kind.__new__(kind))
    assert encode_command(InstallSession(0, SESSION))
    assert encode_command(SetEndpoint(0, None))
    assert encode_report(SessionsHeld((), True))


@pytest.mark.parametrize(
    "message",
    [
        None,
        [],
        {},
        "text",
        [0],
        [15],
        [True, 0],
        [2.0],
        [2, 0],
        [[2]],
        [1],
        [1, -1],
        [1, 2**64 - 1, 0],
        [1, True],
        [1, 1.0],
        [3, 1420, 1],
        [3, 65536, True],
        [4, bytes(31)],
        [4, ""],
        [5, 65536],
        [7, 0, []],
        [7, 0, [[bytes(4), 1, 0]]],
        [7, 0, [[bytes(5), 1, 0], None]],
        [7, 0, [[bytes(4), 65536, 0], None]],
        [7, 0, [[bytes(4), 1, 0], [bytes(4)]]],
        [8, 0, [bytes(4)]],
        [8, 0, [b"\x21" + bytes(4)]],
        [8, 0, [b"\x81" + bytes(16)]],
        [8, 0, [b"\x08\x0a\x00\x00\x01"]],
        [8, 0, bytes(5)],
        [8, 0, [bytes(5)] * (MAX_ITEMS + 1)],
        [10, 0, [1, 1, KEY, KEY, 1, True]],
        [10, 0, [1, 1, KEY, KEY, float("nan"), True]],
        [10, 0, [1, 1, KEY, KEY, float("inf"), True]],
        [10, 0, [1, 1, KEY, KEY[1:], 1.0, True]],
        [10, 0, [1, 2**32, KEY, KEY, 1.0, True]],
    ],
)
def test_wrong_commands_are_refused(message: Any) -> None:
    """A message with a wrong number, type, range or length raises CodecError."""
    with pytest.raises(CodecError):
        decode_command(msgpack.packb(message))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x92\x05",
        b"\x92\x05\x00\x00",
        b"\xc1",
        b"\x92\x05\xc7\x00\x01",
        b"\x92\x05\xd6\xff\x00\x00\x00\x00",
        b"\xdd\xff\xff\xff\xff",
        b"\x91" * 600 + b"\x00",
        b"\x91" * 60_000,
        b"\x92\x05\xa1\xff",
    ],
)
def test_bytes_that_are_no_message_are_refused(data: bytes) -> None:
    """Truncation, trailing bytes, extensions, nesting and size raise CodecError."""
    with pytest.raises(CodecError):
        decode_command(data)
    with pytest.raises(CodecError):
        decode_report(data)


def test_too_long_messages_are_not_even_parsed() -> None:
    """More bytes than the greatest message are refused for that alone."""
    with pytest.raises(CodecError, match="too long"):
        decode_command(bytes(MAX_MESSAGE_BYTES + 1))


@pytest.mark.parametrize(
    "command",
    [
        AddPeer(-1),
        AddPeer(65536),
        SetLink(70_000, True),
        forwarding.SetIdentity(bytes(31)),
        AddAllowedIps(0, (Prefix(4, 1, 8),)),
        AddAllowedIps(0, (Prefix(4, 0, 33),)),
        AddAllowedIps(0, (Prefix(6, 2**128, 128),)),
        AddAllowedIps(0, (Prefix(4, 0, 0),) * (MAX_ITEMS + 1)),
        SetEndpoint(0, Path(Endpoint("fe80::1%2", 1))),
        SetEndpoint(0, Path(Endpoint("localhost", 1))),
    ],
)
def test_values_out_of_range_are_not_encoded(command: Command) -> None:
    """What the other side would refuse is refused here already."""
    with pytest.raises(CodecError):
        encode_command(command)


def test_no_key_in_an_error() -> None:
    """A refused session does not show its keys."""
    bad = Session(-1, 0, KEY, KEY, 1.0, True)
    with pytest.raises(CodecError) as caught:
        encode_command(InstallSession(0, bad))
    assert KEY.hex() not in str(caught.value)
    assert repr(KEY) not in str(caught.value)


def test_the_largest_messages_fit() -> None:
    """As many items as allowed stay within the greatest message."""
    prefixes = tuple(Prefix(6, 2**128 - 1 - n, 128) for n in range(MAX_ITEMS))
    command = RemoveAllowedIps(65535, prefixes)
    encoded = encode_command(command)
    assert len(encoded) <= MAX_MESSAGE_BYTES
    assert decode_command(encoded) == command
    held = HeldSession(
        65535, 2**32 - 1, 2**32 - 1, 1e9 / 3, False, True, Cipher.AES_256_GCM
    )
    report = SessionsHeld((held,) * MAX_ITEMS, False)
    assert len(encode_report(report)) <= MAX_MESSAGE_BYTES
    assert decode_report(encode_report(report)) == report


@pytest.mark.parametrize("kind", [AddAllowedIps, RemoveAllowedIps])
@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 25])
def test_splitting(kind: type[AddAllowedIps], count: int) -> None:
    """The parts hold all prefixes in order, and none is too long or empty."""
    prefixes = tuple(Prefix(4, n << 8, 24) for n in range(count))
    parts = split_allowed_ips(kind(3, prefixes), at_most=10)
    assert all(type(part) is kind and part.slot == 3 for part in parts)
    assert all(0 < len(part.prefixes) <= 10 for part in parts)
    assert sum((part.prefixes for part in parts), ()) == prefixes


SHARE = SharePrefix(
    Prefix.parse("10.0.0.0/8"), (ShareOfPrefix(1, 255), ShareOfPrefix(2, 1)), (1, 2, 3)
)
FRAME = b"\x01\x02\x00\x91\x00"


def test_known_bytes_of_the_mesh() -> None:
    """Shares are lists of slot and weight; a frame travels as it is."""
    shares = "92" + "9201ccff" + "920201"
    prefix = "c4050" + "80a000000"
    assert encode_command(SHARE).hex() == "94" + "0f" + prefix + shares + "93010203"
    assert encode_command(UnsharePrefix(SHARE.prefix)).hex() == "92" + "10" + prefix
    assert (
        encode_command(SendControl(1, FRAME)).hex()
        == "94" + "1101" + "c4050102009100" + "c0"
    )
    received = ControlReceived(1, FRAME, 300)
    assert (
        encode_report(received).hex() == "950801" + "c4050102009100" + "cd012c" + "c0"
    )
    probe = SendProbe(1, FRAME, 8920)
    assert encode_command(probe).hex() == "941401" + "c4050102009100" + "cd22d8"


@pytest.mark.parametrize("size", [1, 1203])
def test_frames_of_every_length_allowed_travel(size: int) -> None:
    """Up to 1,203 bytes out, and with their padding up to 1,218 in."""
    command = SendControl(9, b"\x01" * size)
    assert decode_command(encode_command(command)) == command
    probe = SendProbe(9, b"\x01" * min(size, 256), 256)
    assert decode_command(encode_command(probe)) == probe
    report = ControlReceived(9, b"\x01" * (size + 15), 64_000)
    assert decode_report(encode_report(report)) == report


@pytest.mark.parametrize("size", [0, 255, 65_456, -1, True, 1300.0])
def test_a_probe_is_larger_than_what_it_says(size: Any) -> None:
    """And no larger than a datagram can be."""
    with pytest.raises(CodecError):
        encode_command(SendProbe(1, FRAME, size))
    with pytest.raises(CodecError):
        decode_command(msgpack.packb([20, 1, FRAME, size]))


@pytest.mark.parametrize(
    "frame", [b"", b"\x02", b"\x00\x01", b"\x01" * 1219, 1, "\x01"]
)
def test_other_frames_are_refused(frame: Any) -> None:
    """Neither written nor read: empty, too long, not text, and nothing but 0x01."""
    for command in (SendControl(1, frame), SendControl(1, b"\x01" * 1204)):
        with pytest.raises(CodecError):
            encode_command(command)
    with pytest.raises(CodecError):
        encode_report(ControlReceived(1, frame))
    with pytest.raises(CodecError):
        decode_command(msgpack.packb([17, 1, frame, None]))
    with pytest.raises(CodecError):
        decode_report(msgpack.packb([8, 1, frame, 0, None]))


@pytest.mark.parametrize(
    "share",
    [
        replace(SHARE, forward=()),
        replace(SHARE, forward=(ShareOfPrefix(1, 1),) * 17),
        replace(SHARE, forward=(ShareOfPrefix(1, 0),)),
        replace(SHARE, forward=(ShareOfPrefix(1, 256),)),
        replace(SHARE, forward=(ShareOfPrefix(65536, 1),)),
        replace(SHARE, forward=(ShareOfPrefix(1, True),)),
        replace(SHARE, accept=(1,) * 17),
        replace(SHARE, accept=(-1,)),
        replace(SHARE, prefix=Prefix(4, 1, 8)),
    ],
)
def test_shares_out_of_bounds_are_refused(share: SharePrefix) -> None:
    """1 to 16 carry flows, each with a weight of 1 to 255; at most 16 may speak."""
    with pytest.raises(CodecError):
        encode_command(share)


@pytest.mark.parametrize(
    "fields",
    [
        [b"\x08\x0a\0\0\0", [], []],
        [b"\x08\x0a\0\0\0", [[1, 0]], []],
        [b"\x08\x0a\0\0\0", [[1, 256]], []],
        [b"\x08\x0a\0\0\0", [[1, 1]] * 17, []],
        [b"\x08\x0a\0\0\0", [[1, 1]], [1] * 17],
        [b"\x08\x0a\0\0\0", [[1]], []],
        [b"\x08\x0a\0\0\1", [[1, 1]], []],
    ],
)
def test_bytes_of_shares_out_of_bounds_are_refused(fields: list[Any]) -> None:
    """A worker believes nothing that control cannot have meant."""
    with pytest.raises(CodecError):
        decode_command(msgpack.packb([15, *fields]))
