"""The lines of the control socket: requests and replies as JSON, one object a line.

    {"verb": "invite", "name": "laptop"}
    {"schema": 1, "ok": true, "result": {"token": "…"}}
    {"schema": 1, "ok": false, "error": {"code": 3, "text": "no such member"}}

A verb that tells of events answers with `{"schema": 1, "event": {…}}` lines, and with
one of the two replies when it ends. `code` is the exit code of the command.

Requests are bounded in length and depth, and nothing that JSON leaves open is taken:
no key twice, no number beyond 64 bits, no NaN, no half of a surrogate pair.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import field
from typing import Any, Final

from meshnode.errors import CodecError
from meshnode.values import frozen

SCHEMA: Final = 1
"""Of every reply; it grows only when something is taken away or changed."""

MAX_REQUEST: Final = 65536
"""Bytes of a request, its line feed included."""

MAX_REPLY: Final = 2**26
"""Bytes of a reply; the status of the largest mesh is a tenth of it."""

MAX_DEPTH: Final = 8
"""Objects and lists within each other."""

_VERB = re.compile(r"[a-z][a-z0-9-]{0,31}( [a-z][a-z0-9-]{0,31})?")
_KEY = "verb"
_MAX_INTEGER = 2**63


@frozen
class Request:
    """What is asked for; *args* hold no secret that may not be logged by mistake.

    `manage.toml_reader.Table` reads the arguments strictly.
    """

    verb: str
    args: dict[str, Any] = field(default_factory=dict, repr=False)


@frozen
class BadRequest:
    """A line that is no request, and why."""

    reason: str


@frozen
class Result:
    """The good end of a request."""

    values: dict[str, Any]


@frozen
class Failure:
    """The bad end of a request: the command's exit code, and a line for the user."""

    code: int
    text: str


@frozen
class EventLine:
    """One event of a request that has not ended."""

    values: dict[str, Any]


Reply = Result | Failure | EventLine


class RequestParser:
    """Bytes of one connection in, requests out; a line too long closes it."""

    def __init__(self) -> None:
        self._line = bytearray()
        self.is_closed = False

    def feed(self, data: bytes) -> list[Request | BadRequest]:
        """Take bytes as they come, and return the requests that they complete."""
        requests: list[Request | BadRequest] = []
        while data and not self.is_closed:
            piece, newline, data = data.partition(b"\n")
            if len(self._line) + len(piece) + 1 > MAX_REQUEST:
                self.is_closed = True
                self._line.clear()
                requests.append(BadRequest(f"longer than {MAX_REQUEST} bytes"))
                break
            self._line += piece
            if newline:
                requests.append(_request_or_bad(bytes(self._line)))
                self._line.clear()
        return requests


def parse_request(line: bytes) -> Request:
    """Return the request in *line*, which has no line feed.

    Raises:
        CodecError: saying what is wrong with it.
    """
    args = _parse_object(line, MAX_REQUEST)
    verb = args.pop(_KEY, None)
    if type(verb) is not str or not _VERB.fullmatch(verb):
        raise CodecError("no verb")
    return Request(verb, args)


def serialise_request(verb: str, args: Mapping[str, object]) -> bytes:
    """Return the line of a request.

    Raises:
        CodecError: if it is not one that is taken.
    """
    line = _line({_KEY: verb, **args})
    if len(line) > MAX_REQUEST:
        raise CodecError(f"longer than {MAX_REQUEST} bytes")
    parse_request(line[:-1])
    return line


def parse_reply(line: bytes) -> Reply:
    """Return the reply in *line*, which has no line feed.

    Raises:
        CodecError: if it is none, or of another schema.
    """
    reply = _parse_object(line, MAX_REPLY)
    if reply.get("schema") != SCHEMA:
        raise CodecError("of another version")
    match reply:
        case {"event": dict(values)}:
            return EventLine(values)
        case {"ok": True, "result": dict(values)}:
            return Result(values)
        case {"ok": False, "error": {"code": int(code), "text": str(text)}}:
            if 1 <= code <= 125:
                return Failure(code, text)
    raise CodecError("no reply")


def serialise_reply(reply: Reply) -> bytes:
    """Return the line of a reply.

    Raises:
        CodecError: if it holds what JSON cannot.
    """
    values: dict[str, object]
    match reply:
        case Result(result):
            values = {"ok": True, "result": result}
        case Failure(code, text):
            values = {"ok": False, "error": {"code": code, "text": text}}
        case EventLine(event):
            values = {"event": event}
    line = _line({"schema": SCHEMA, **values})
    if len(line) > MAX_REPLY:
        raise CodecError(f"longer than {MAX_REPLY} bytes")
    return line


def _request_or_bad(line: bytes) -> Request | BadRequest:
    try:
        return parse_request(line)
    except CodecError as error:
        return BadRequest(str(error))


def _line(values: dict[str, object]) -> bytes:
    try:
        # Not ASCII only: half a surrogate pair is refused by the encoding.
        text = json.dumps(values, ensure_ascii=False, allow_nan=False)
        return text.encode() + b"\n"
    except (ValueError, TypeError, RecursionError) as error:
        raise CodecError(f"cannot be JSON: {error}") from None


def _parse_object(line: bytes, limit: int) -> dict[str, Any]:
    if len(line) > limit:
        raise CodecError(f"longer than {limit} bytes")
    try:
        value = json.loads(
            line.decode(),
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except CodecError:
        raise
    except UnicodeDecodeError:
        raise CodecError("not UTF-8") from None
    except (ValueError, RecursionError):
        raise CodecError("not JSON") from None
    if type(value) is not dict:
        raise CodecError("no object")
    _check(value, MAX_DEPTH)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise CodecError("a key twice")
    return values


def _refuse_constant(name: str) -> None:
    raise CodecError(f"{name} is no number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise CodecError("a number that is too large")
    return number


def _check(value: object, depth: int) -> None:
    """Check what JSON leaves open, in everything that *value* holds."""
    if isinstance(value, str):
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise CodecError("half of a surrogate pair")
    elif isinstance(value, int):
        if not -_MAX_INTEGER <= value < _MAX_INTEGER:
            raise CodecError("a number that is too large")
    elif isinstance(value, dict | list):
        if not depth:
            raise CodecError(f"deeper than {MAX_DEPTH}")
        items = value if isinstance(value, list) else [*value.keys(), *value.values()]
        for item in items:
            _check(item, depth - 1)
