"""Requests of the userspace API, from bytes to values."""

import errno
import random

import pytest

from meshnode.crypto.keys import PresharedKey, PrivateKey, PublicKey
from meshnode.manage import uapi
from meshnode.manage.uapi import (
    BadRequest,
    GetRequest,
    Request,
    RequestParser,
    SetRequest,
    UnknownRequest,
)
from meshnode.types import Endpoint, Prefix
from meshnode.wireguard.config import DeviceChange, PeerChange

PRIVATE = bytes(range(32))
PUBLIC = bytes(range(100, 132))

FULL_SET = f"""set=1
private_key={PRIVATE.hex()}
listen_port=51820
fwmark=4294967295
replace_peers=true
public_key={PUBLIC.hex()}
update_only=true
preshared_key={PRIVATE.hex()}
protocol_version=1
endpoint=[fe80::1%2]:7
persistent_keepalive_interval=25
replace_allowed_ips=true
allowed_ip=10.1.2.3/8
allowed_ip=-fd00::1/64
public_key={PRIVATE.hex()}
remove=true

""".encode()

FULL_CHANGE = DeviceChange(
    private_key=PrivateKey(PRIVATE),
    listen_port=51820,
    fwmark=0xFFFFFFFF,
    replace_peers=True,
    peers=[
        PeerChange(
            PublicKey(PUBLIC),
            update_only=True,
            preshared_key=PresharedKey(PRIVATE),
            endpoint=Endpoint("fe80::1", 7, 2),
            persistent_keepalive=25,
            replace_allowed_ips=True,
            allowed_ips=[
                (True, Prefix.parse("10.0.0.0/8")),
                (False, Prefix.parse("fd00::/64")),
            ],
        ),
        PeerChange(PublicKey(PRIVATE), remove=True),
    ],
)


def parse(data: bytes) -> list[Request]:
    """The requests in *data*."""
    return RequestParser().feed(data)


def parse_lines(*lines: str) -> list[Request]:
    """The requests in one `set` of these lines."""
    return parse("\n".join(["set=1", *lines, "", ""]).encode())


def refused_with(*lines: str) -> int:
    """Return the errno for a `set` of these lines."""
    [request] = parse_lines(*lines)
    assert isinstance(request, BadRequest)
    assert not request.is_get
    return request.errno


def test_get_is_read() -> None:
    """`get=1` and an empty line are a whole request."""
    assert parse(b"get=1\n\n") == [GetRequest()]


def test_every_key_of_a_set_is_read() -> None:
    """Each key of the interface fills its field, and order is kept."""
    assert parse(FULL_SET) == [SetRequest(FULL_CHANGE)]


def test_an_empty_set_changes_nothing() -> None:
    """A `set` without lines is legal."""
    assert parse(b"set=1\n\n") == [SetRequest(DeviceChange())]


def test_bytes_may_arrive_one_at_a_time() -> None:
    """Requests split anywhere are the same requests."""
    parser = RequestParser()
    stream = FULL_SET + b"get=1\n\n" + FULL_SET
    requests = [r for byte in stream for r in parser.feed(bytes([byte]))]
    assert requests == [SetRequest(FULL_CHANGE), GetRequest(), SetRequest(FULL_CHANGE)]


def test_pieces_of_any_size_give_the_same_requests(
    rng: random.Random, seed: int
) -> None:
    """Pieces of random sizes change nothing."""
    stream = FULL_SET + b"set=1\nbad\n\n" + b"get=1\n\n"
    whole = parse(stream)
    for _ in range(50):
        parser, rest, requests = RequestParser(), stream, []
        while rest:
            size = rng.randint(1, 200)
            requests += parser.feed(rest[:size])
            rest = rest[size:]
        assert requests == whole, f"seed {seed}"


def test_nothing_is_returned_before_the_empty_line() -> None:
    """A request is whole only with its empty line."""
    parser = RequestParser()
    assert parser.feed(FULL_SET[:-1]) == []
    assert parser.feed(b"\n") == [SetRequest(FULL_CHANGE)]


def test_a_private_key_of_zeros_clears_it() -> None:
    """Zeros are not clamped into a key."""
    [request] = parse_lines(f"private_key={'00' * 32}")
    assert request == SetRequest(DeviceChange(clear_private_key=True))


@pytest.mark.parametrize("order", [1, -1])
def test_the_last_private_key_line_counts(order: int) -> None:
    """A key after zeros is set, and zeros after a key clear it."""
    lines = [f"private_key={PRIVATE.hex()}", f"private_key={'00' * 32}"][::order]
    [request] = parse_lines(*lines)
    assert isinstance(request, SetRequest)
    assert request.change.clear_private_key == (order == 1)
    assert (request.change.private_key is None) == (order == 1)


def test_text_after_get_is_invalid() -> None:
    """A `get` has no lines; the connection stays in step."""
    requests = parse(b"get=1\nlisten_port=1\n\nget=1\n\n")
    assert requests == [
        BadRequest(errno.EINVAL, True, "text after get=1"),
        GetRequest(),
    ]


def test_a_line_without_equals_is_a_protocol_error() -> None:
    """EPROTO is for lines that are no `key=value`."""
    assert refused_with("listen_port") == errno.EPROTO == 71


PEER = f"public_key={PUBLIC.hex()}"


@pytest.mark.parametrize(
    "lines",
    [
        ["nonsense=1"],
        ["=1"],
        ["set=1"],
        ["get=1"],
        ["private_key=00"],
        [f"private_key={'zz' * 32}"],
        [f"private_key={PRIVATE.hex()}="],
        ["listen_port=65536"],
        ["listen_port="],
        ["fwmark=4294967296"],
        ["fwmark=0x10"],
        ["replace_peers=1"],
        ["replace_peers=false"],
        ["endpoint=1.2.3.4:5"],
        ["public_key=" + "0" * 63],
        [PEER, "listen_port=1"],
        [PEER, "replace_peers=true"],
        [PEER, "protocol_version=2"],
        [PEER, "protocol_version="],
        [PEER, "endpoint=host.example:51820"],
        [PEER, "endpoint=[fe80::1%eth0]:51820"],
        [PEER, "persistent_keepalive_interval=65536"],
        [PEER, "persistent_keepalive_interval=off"],
        [PEER, "remove=yes"],
        [PEER, "update_only=TRUE"],
        [PEER, "preshared_key=" + "0" * 65],
        [PEER, "replace_allowed_ips="],
        [PEER, "allowed_ip=10.0.0.0"],
        [PEER, "allowed_ip=10.0.0.0/33"],
        [PEER, "allowed_ip=--10.0.0.0/8"],
        [PEER, "allowed_ip=+10.0.0.0/8"],
        [PEER, "allowed_ip=10.0.0.0/8\r"],
        [PEER, "tx_bytes=1"],
        ["listen_port=١"],
    ],
)
def test_bad_keys_and_values_are_invalid(lines: list[str]) -> None:
    """Unknown keys and bad values answer EINVAL."""
    assert refused_with(*lines) == errno.EINVAL


def test_the_first_bad_line_decides_and_the_rest_is_skipped() -> None:
    """Later lines change neither the answer nor the next request."""
    requests = parse(b"set=1\nlisten_port\nnonsense=1\n\nget=1\n\n")
    assert requests == [
        BadRequest(errno.EPROTO, False, "line 2 has no '='"),
        GetRequest(),
    ]


@pytest.mark.parametrize("first", [b"", b"get=2", b"set=0", b"GET / HTTP/1.1", b"\xff"])
def test_an_unknown_request_closes(first: bytes) -> None:
    """What is neither get nor set gets no answer, nor anything after it."""
    parser = RequestParser()
    assert parser.feed(first + b"\nget=1\n\n") == [UnknownRequest()]
    assert parser.is_closed
    assert parser.feed(b"get=1\n\n") == []


@pytest.mark.parametrize("is_ended", [True, False])
def test_a_line_beyond_the_limit_closes(is_ended: bool) -> None:
    """An endless line is given up, whether or not it ends in the same piece."""
    parser = RequestParser()
    line = b"set=1\nlisten_port=" + b"1" * uapi.MAX_LINE + b"\n" * is_ended
    [request] = parser.feed(line)
    assert request == BadRequest(errno.EINVAL, False, "a line is too long")
    assert parser.is_closed


def test_a_first_line_beyond_the_limit_is_an_unknown_request() -> None:
    """Bytes without end and without a request get no answer."""
    assert parse(b"x" * (uapi.MAX_LINE + 1)) == [UnknownRequest()]


def test_a_request_beyond_the_limit_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The size of one request is bounded; that of a connection is not."""
    monkeypatch.setattr(uapi, "MAX_REQUEST", len(FULL_SET))
    parser = RequestParser()
    for _ in range(3):
        assert parser.feed(FULL_SET) == [SetRequest(FULL_CHANGE)]
    [request] = parser.feed(FULL_SET.replace(b"\nremove", b"\nremove=true\nremove"))
    assert request == BadRequest(errno.EINVAL, False, "the request is too long")
    assert parser.is_closed


def test_interface_names_in_endpoints_are_resolved() -> None:
    """`wg` writes the zone of a link-local address as a name."""
    parser = RequestParser(zone_index={"eth0": 9}.__getitem__)
    text = f"set=1\n{PEER}\nendpoint=[fe80::1%eth0]:5\n\n"
    [request] = parser.feed(text.encode())
    assert isinstance(request, SetRequest)
    assert request.change.peers[0].endpoint == Endpoint("fe80::1", 5, 9)


def test_130560_allowed_ips_are_read() -> None:
    """The largest configuration of the kernel's test is one request."""
    lines = [PEER, "replace_allowed_ips=true"]
    for a in range(1, 256):
        for b in range(256):
            lines += [f"allowed_ip={a}.{b}.0.0/16", f"allowed_ip={a}::{b}/128"]
    [request] = parse_lines(*lines)
    assert isinstance(request, SetRequest)
    assert len(set(request.change.peers[0].allowed_ips)) == 130_560


def test_no_request_shows_a_secret() -> None:
    """Neither the text of a request nor that of a refusal holds a key."""
    key = PrivateKey(b"\x5a" * 32)
    hexadecimal, base64 = key.reveal().hex(), key.to_base64()
    requests = [
        *parse_lines(
            f"private_key={hexadecimal}", PEER, f"preshared_key={hexadecimal}"
        ),
        *parse_lines(f"private_key={hexadecimal}x"),
        *parse_lines(hexadecimal),
        *parse_lines(f"{hexadecimal}=1"),
    ]
    for request in requests:
        for text in (repr(request), str(request)):
            assert hexadecimal not in text
            assert base64 not in text
            assert repr(key.reveal()) not in text
