"""Any bytes to the control socket, and from it: only the error that is told."""

import json
import random
import tracemalloc
from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from meshnode.errors import CodecError
from meshnode.manage.api_protocol import (
    BadRequest,
    EventLine,
    Failure,
    Request,
    RequestParser,
    Result,
    parse_reply,
    serialise_request,
)

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=10),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), inner)
    ),
    max_leaves=10,
)
WORDS = [
    *("{", "}", "[", "]", ",", ":", '"verb"', '"status"', '"a"', "1", "-", "1e400"),
    *("null", "true", "NaN", "Infinity", '"\\ud800"', "\n", " ", "\0", "\\", '"', "é"),
]
streams = st.one_of(
    st.binary(max_size=300),
    st.lists(st.sampled_from(WORDS), max_size=60).map(lambda w: "".join(w).encode()),
    st.lists(
        plain.map(lambda value: json.dumps({"verb": "x", "a": value})), max_size=5
    ).map(lambda lines: "\n".join(lines).encode()),
)


def feed_all(data: bytes, sizes: list[int]) -> list[Request | BadRequest]:
    """The requests in *data*, fed in pieces of these sizes, the last repeated."""
    parser, requests, position = RequestParser(), [], 0
    for number in range(len(data) + 1):
        size = sizes[min(number, len(sizes) - 1)]
        requests += parser.feed(data[position : position + size])
        position += size
    return requests


@given(streams, st.lists(st.integers(1, 50), min_size=1, max_size=20))
def test_pieces_of_any_size_are_parsed_alike(data: bytes, sizes: list[int]) -> None:
    """Nothing raises, and where the stream is split makes no difference."""
    whole = RequestParser().feed(data)
    assert feed_all(data, sizes) == whole
    for request in whole:
        if isinstance(request, BadRequest):
            assert request.reason.isprintable()
        else:
            # What is taken can be asked again, in the same words.
            line = serialise_request(request.verb, request.args)
            assert RequestParser().feed(line) == [request]


@given(streams)
def test_any_reply_is_read_or_refused(data: bytes) -> None:
    """Whoever listens at the socket."""
    for line in data.split(b"\n"):
        with suppress(CodecError):
            assert isinstance(parse_reply(line), Result | Failure | EventLine)


def shallow(value: Any, depth: int = 8) -> bool:
    """Whether *value* is no deeper than the limit."""
    if not isinstance(value, dict | list):
        return True
    items = value if isinstance(value, list) else value.values()
    return depth > 0 and all(shallow(item, depth - 1) for item in items)


@given(plain)
def test_what_json_can_say_is_taken(value: object) -> None:
    """Up to the depth, and no further."""
    line = json.dumps({"verb": "x", "a": value}).encode() + b"\n"
    (request,) = RequestParser().feed(line)
    if shallow({"verb": "x", "a": value}):
        assert request == Request("x", {"a": value})
    else:
        assert request == BadRequest("deeper than 8")


def test_mutated_requests_never_raise(rng: random.Random, seed: int) -> None:
    """A good one with bytes changed, lost and doubled."""
    valid = serialise_request("invite create", {"name": "é", "n": [1, {"a": 2.5}]})
    for _ in range(20_000):
        data = bytearray(valid * 2)
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


def test_bytes_without_end_take_no_memory() -> None:
    """A line that never ends is not kept."""
    parser = RequestParser()
    tracemalloc.start()
    try:
        for _ in range(256):
            parser.feed(b"[" * 16384)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert parser.is_closed
    assert peak < 2**20
