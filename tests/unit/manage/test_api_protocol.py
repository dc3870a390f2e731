"""The lines of the control socket: what is taken, and what is refused and why."""

import json

import pytest

from meshnode.errors import CodecError
from meshnode.manage import api_protocol
from meshnode.manage.api_protocol import (
    MAX_DEPTH,
    MAX_REQUEST,
    BadRequest,
    EventLine,
    Failure,
    Reply,
    Request,
    RequestParser,
    Result,
    parse_reply,
    parse_request,
    serialise_reply,
    serialise_request,
)


def test_a_request_is_read_and_written() -> None:
    """The verb and its arguments, whatever JSON has."""
    args = {"a": 1, "b": [True, None, 1.5, "é"], "c": {"d": -(2**63)}}
    line = serialise_request("invite", args)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert parse_request(line[:-1]) == Request("invite", args)
    assert parse_request(b'{"verb": "peer list"}') == Request("peer list")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "not JSON"),
        (b"status", "not JSON"),
        (b"{", "not JSON"),
        (b'{"verb": "x"} x', "not JSON"),
        (b'{"verb": "x"', "not JSON"),
        (b'["verb"]', "no object"),
        (b'"verb"', "no object"),
        (b"1", "no object"),
        (b"null", "no object"),
        (b"{}", "no verb"),
        (b'{"verb": 1}', "no verb"),
        (b'{"verb": ""}', "no verb"),
        (b'{"verb": "Status"}', "no verb"),
        (b'{"verb": "a\\nb"}', "no verb"),
        (b'{"verb": "../x"}', "no verb"),
        (b'{"verb": "a b c"}', "no verb"),
        (b'{"verb": "x", "verb": "y"}', "a key twice"),
        (b'{"verb": "x", "a": {"b": 1, "b": 2}}', "a key twice"),
        (b'{"verb": "x", "a": NaN}', "NaN is no number"),
        (b'{"verb": "x", "a": -Infinity}', "-Infinity is no number"),
        (b'{"verb": "x", "a": 1e999}', "a number that is too large"),
        (b'{"verb": "x", "a": 9223372036854775808}', "a number that is too large"),
        (b'{"verb": "x", "a": ' + b"9" * 5000 + b"}", "not JSON"),
        (b'{"verb": "x", "a": "\\ud800"}', "half of a surrogate pair"),
        (b'{"verb": "x", "\\udfff": 1}', "half of a surrogate pair"),
        (b'{"verb": "x", "a": "\xff"}', "not UTF-8"),
        (b'{"verb": "x", "a": ' + b"[" * 8 + b"]" * 8 + b"}", "deeper than 8"),
        (b'{"verb": "x", "a": ' + b"[" * 60000, "not JSON"),
        (b'{"verb": "x", "a": ' + b'{"a":' * 10000, "not JSON"),
        (b" " * (MAX_REQUEST + 1), f"longer than {MAX_REQUEST} bytes"),
    ],
)
def test_what_is_no_request_is_refused(line: bytes, reason: str) -> None:
    """With one reason, and by no other exception."""
    with pytest.raises(CodecError, match=f"^{reason}$"):
        parse_request(line)


def test_the_deepest_request_is_taken() -> None:
    """The limit itself is not beyond it."""
    nested = b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1)
    assert parse_request(b'{"verb": "x", "a": %b}' % nested).verb == "x"


def test_lines_are_cut_wherever_they_arrive() -> None:
    """Several at once, and one in pieces."""
    parser = RequestParser()
    stream = b'{"verb": "a"}\n\n{"verb": "b"}\n{"verb"'
    expected = [Request("a"), BadRequest("not JSON"), Request("b")]
    assert parser.feed(stream) == expected
    assert parser.feed(b': "c"}') == []
    assert parser.feed(b"\n") == [Request("c")]
    slow = RequestParser()
    found = []
    for byte in stream:
        found += slow.feed(bytes([byte]))
    assert found == expected


@pytest.mark.parametrize("has_end", [True, False])
def test_a_line_too_long_closes(has_end: bool) -> None:
    """Nothing after it is read: where the next begins is not known in time."""
    line = json.dumps({"verb": "x", "a": ""}).encode()
    longest = line.replace(b'""', b'"%b"' % (b"x" * (MAX_REQUEST - len(line) - 1)))
    assert len(longest) == MAX_REQUEST - 1
    parser = RequestParser()
    assert len(parser.feed(longest + b"\n")) == 1
    assert not parser.is_closed
    data = longest + b" " + (b"\n" if has_end else b"")
    assert parser.feed(data) == [BadRequest(f"longer than {MAX_REQUEST} bytes")]
    assert parser.is_closed
    assert parser.feed(b'{"verb": "x"}\n') == []


@pytest.mark.parametrize(
    "reply",
    [
        Result({}),
        Result({"a": [1, {"b": None}], "ok": False}),
        Failure(3, "no such member"),
        Failure(125, ""),
        EventLine({"type": "peer-up", "error": 1}),
    ],
)
def test_replies_are_read_back(reply: Reply) -> None:
    """Each kind as itself, on one line with the schema."""
    line = serialise_reply(reply)
    assert line.count(b"\n") == 1
    assert json.loads(line)["schema"] == 1
    assert parse_reply(line[:-1]) == reply


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b'{"schema": 1}',
        b'{"schema": 1, "ok": true}',
        b'{"schema": 1, "ok": true, "result": []}',
        b'{"schema": 1, "ok": false, "result": {}}',
        b'{"schema": 1, "ok": false, "error": {"code": 0, "text": ""}}',
        b'{"schema": 1, "ok": false, "error": {"code": 126, "text": ""}}',
        b'{"schema": 1, "ok": false, "error": {"code": 1}}',
        b'{"schema": 1, "event": 1}',
        b'{"schema": 2, "ok": true, "result": {}}',
        b'{"ok": true, "result": {}}',
    ],
)
def test_other_replies_are_refused(line: bytes) -> None:
    """Also what a later version may say."""
    with pytest.raises(CodecError):
        parse_reply(line)


@pytest.mark.parametrize(
    "values", [{"a": b"bytes"}, {"a": float("nan")}, {"a": "\ud800"}, {"a": {1, 2}}]
)
def test_what_json_cannot_say_is_refused(values: dict[str, object]) -> None:
    """Before it is half sent."""
    with pytest.raises(CodecError, match="cannot be JSON"):
        serialise_request("x", values)
    with pytest.raises(CodecError, match="cannot be JSON"):
        serialise_reply(Result(values))


def test_requests_and_replies_have_a_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who writes one learns it before who reads it."""
    with pytest.raises(CodecError, match="longer than"):
        serialise_request("x", {"a": "x" * MAX_REQUEST})
    with pytest.raises(CodecError, match="no verb"):
        serialise_request("X", {})
    monkeypatch.setattr(api_protocol, "MAX_REPLY", 100)
    serialise_reply(Failure(1, "x"))
    with pytest.raises(CodecError, match="longer than"):
        serialise_reply(Failure(1, "x" * 100))


def test_arguments_are_not_shown() -> None:
    """They may hold the token of an invite."""
    assert "secret" not in repr(Request("join", {"token": "secret"}))
