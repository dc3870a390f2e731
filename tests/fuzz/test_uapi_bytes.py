"""Any bytes to the userspace API: no exception, no request made up, no memory."""

import random
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnode.manage import uapi
from meshnode.manage.uapi import (
    BadRequest,
    Request,
    RequestParser,
    SetRequest,
)

KEYS = [
    *("get", "set", "private_key", "listen_port", "fwmark", "replace_peers"),
    *("public_key", "preshared_key", "endpoint", "protocol_version", "remove"),
    *("update_only", "persistent_keepalive_interval", "replace_allowed_ips"),
    *("allowed_ip", "errno", "nonsense", ""),
]
VALUES = [
    *("1", "0", "true", "false", "65535", "65536", "-1", "4294967295", "", "="),
    *("00" * 32, "ab" * 32, "zz" * 32, "1.2.3.4:5", "[::1%1]:5", "[fe80::1%x]:1"),
    *("10.0.0.0/8", "-10.0.0.0/8", "::/0", "::1/128", "1.2.3.4/33", "\r", "\0", "é"),
]

lines = st.one_of(
    st.sampled_from(["get=1", "set=1", "", "\n"]),
    st.builds(
        "{}{}{}".format,
        st.sampled_from(KEYS),
        st.sampled_from(["=", "=", "=", "", "=="]),
        st.sampled_from(VALUES),
    ),
    st.text(max_size=40),
)
streams = st.one_of(
    st.lists(lines, max_size=40).map(lambda parts: "\n".join(parts).encode()),
    st.lists(lines, max_size=20).map(
        lambda parts: ("set=1\n" + "\n".join(parts) + "\n\n").encode()
    ),
    st.binary(max_size=300),
    st.binary(max_size=300).map(lambda data: b"set=1\n" + data + b"\n\n"),
)


def feed_all(data: bytes, sizes: list[int]) -> list[Request]:
    """The requests in *data*, fed in pieces of these sizes, the last repeated."""
    parser, requests, position = RequestParser(), [], 0
    for number in range(len(data) + 1):
        size = sizes[min(number, len(sizes) - 1)]
        requests += parser.feed(data[position : position + size])
        position += size
        if position >= len(data):
            break
    return requests


@given(streams, st.lists(st.integers(1, 50), min_size=1, max_size=20))
def test_pieces_of_any_size_are_parsed_alike(data: bytes, sizes: list[int]) -> None:
    """Nothing raises, and where the stream is split makes no difference."""
    whole = RequestParser().feed(data)
    assert feed_all(data, sizes) == whole
    for request in whole:
        assert isinstance(request, Request)
        if isinstance(request, BadRequest):
            assert request.errno > 0
            assert request.reason.isprintable()


@given(streams)
def test_every_change_is_in_range(data: bytes) -> None:
    """What comes out of any bytes is a change that means something."""
    for request in RequestParser().feed(data):
        if not isinstance(request, SetRequest):
            continue
        change = request.change
        assert not (change.clear_private_key and change.private_key is not None)
        assert change.listen_port is None or 0 <= change.listen_port <= 0xFFFF
        assert change.fwmark is None or 0 <= change.fwmark <= 0xFFFFFFFF
        for peer in change.peers:
            keepalive = peer.persistent_keepalive
            assert keepalive is None or 0 <= keepalive <= 0xFFFF
            for _, prefix in peer.allowed_ips:
                bits = 32 if prefix.version == 4 else 128
                assert 0 <= prefix.length <= bits
                assert prefix.network % (1 << (bits - prefix.length)) == 0


@given(streams, st.binary(max_size=50))
def test_a_parser_that_is_closed_stays_so(data: bytes, more: bytes) -> None:
    """After an unknown request nothing is read, and nothing is kept."""
    parser = RequestParser()
    parser.feed(data + b"\nnonsense\n\nnonsense\n")
    assert parser.is_closed
    assert parser.feed(more + b"\n\nget=1\n\n") == []


def test_mutated_configurations_never_raise(rng: random.Random, seed: int) -> None:
    """Valid requests with bytes changed, lost and doubled."""
    valid = (
        f"set=1\nprivate_key={'ab' * 32}\nlisten_port=51820\nreplace_peers=true\n"
        f"public_key={'cd' * 32}\nendpoint=[2001:db8::1]:51820\n"
        "allowed_ip=10.0.0.0/8\nallowed_ip=fd00::/64\n\nget=1\n\n"
    ).encode()
    for _ in range(20_000):
        data = bytearray(valid)
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(len(data))
            match rng.randrange(3):
                case 0:
                    data[place] = rng.randrange(256)
                case 1:
                    del data[place : place + rng.randint(1, 20)]
                case _:
                    data[place:place] = data[place : place + rng.randint(1, 20)]
            if not data:
                break
        try:
            RequestParser().feed(bytes(data))
        except Exception as error:
            raise AssertionError(f"seed {seed}: {bytes(data)!r}") from error


def test_bytes_without_end_take_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither an endless line nor endless bad lines are kept."""
    monkeypatch.setattr(uapi, "MAX_REQUEST", 2**20)
    piece_size = 16384
    for endless in (b"x" * piece_size, b"x=1\n" * (piece_size // 4)):
        parser = RequestParser()
        parser.feed(b"set=1\n")
        tracemalloc.start()
        try:
            for _ in range(2 * 2**20 // piece_size):
                parser.feed(endless)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert parser.is_closed
        assert peak < 32 * piece_size
