"""DNS messages from anybody: read strictly, answered small (RFC 1035, 4; RFC 6891).

A query is read without anything being made of its names, so it costs little whatever
it is. Records of our own are written by dnslib.
"""

import ipaddress
import struct
from collections.abc import Sequence
from typing import Final

from dnslib import EDNS0, RR, DNSHeader, DNSLabel, DNSQuestion, DNSRecord

from meshnode.values import frozen

MIN_LIMIT: Final = 512
"""Bytes of a reply by UDP to who does not say more (RFC 1035, 4.2.1)."""

MAX_LIMIT: Final = 1232
"""Bytes of a reply by UDP to anybody: no path breaks it up (IPv6's 1,280)."""

MAX_MESSAGE: Final = 65535
"""Bytes of a message by TCP."""

FORMAT_ERROR, SERVER_FAILURE, NAME_ERROR, NOT_IMPLEMENTED, REFUSED = 1, 2, 3, 4, 5
BAD_VERSION: Final = 16
A, NS, SOA, PTR, HINFO, AAAA, OPT, AXFR, ANY = 1, 2, 6, 12, 13, 28, 41, 252, 255
IXFR: Final = 251
IN: Final = 1

_HEADER: Final = struct.Struct(">6H")
_KIND: Final = struct.Struct(">HH")
_RECORD: Final = struct.Struct(">HHIH")
_RESPONSE, _TRUNCATED, _WANTED, _OFFERED = 0x8000, 0x0200, 0x0100, 0x0080
_OPCODE, _RCODE, _CHECKED, _AUTHENTIC = 0x7800, 0x000F, 0x0010, 0x0020
_DNSSEC_OK: Final = 0x8000
_MAX_NAME: Final = 255
_MAX_ADDITIONAL: Final = 4
_MAX_RECORDS: Final = 500


@frozen
class Query:
    """One question.

    `number` is the message's id; `flags` those of the header; `name` the name as it
    stands on the wire, root and case included; `size` what the asker takes by UDP,
    bytes, 0 without EDNS; `wants_dnssec` its flag DO.
    """

    number: int
    flags: int
    name: bytes
    kind: int
    network_class: int
    size: int = 0
    wants_dnssec: bool = False

    @property
    def labels(self) -> tuple[bytes, ...]:
        """The name's labels as given, without the root's."""
        found, at = [], 0
        while self.name[at]:
            end = at + 1 + self.name[at]
            found.append(self.name[at + 1 : end])
            at = end
        return tuple(found)

    @property
    def text(self) -> str:
        """The name in lower case, without a last dot; odd bytes are escaped."""
        return str(DNSLabel(self.labels)).lower().removesuffix(".")

    @property
    def question(self) -> bytes:
        """The question as it stands on the wire."""
        return self.name + _KIND.pack(self.kind, self.network_class)

    @property
    def wants_recursion(self) -> bool:
        """Whether others may be asked for the answer: the flag RD."""
        return bool(self.flags & _WANTED)

    @property
    def limit(self) -> int:
        """The bytes that a reply by UDP may have."""
        return min(max(self.size, MIN_LIMIT), MAX_LIMIT)


class _Malformed(Exception):
    """Bytes are no DNS message."""


def parse_query(data: bytes) -> Query | bytes:
    """Return the question in *data*, or what is replied at once: b"" for nothing.

    Nothing is replied to what is no query at all; two that are none could else
    talk to each other for ever.
    """
    if len(data) < _HEADER.size:
        return b""
    number, flags, questions, answers, authority, additional = _HEADER.unpack_from(data)
    if flags & _RESPONSE:
        return b""
    if flags & _OPCODE:
        return _bare_reply(number, flags, NOT_IMPLEMENTED)
    try:
        if (questions, answers, authority) != (1, 0, 0):
            raise _Malformed
        end = _skip_name(data, _HEADER.size, may_point=False)
        name = data[_HEADER.size : end]
        kind, network_class = _unpack(_KIND, data, end)
        size, version, wants_dnssec = _read_edns(data, end + _KIND.size, additional)
    except _Malformed:
        return _bare_reply(number, flags, FORMAT_ERROR)
    query = Query(number, flags, name, kind, network_class, size, wants_dnssec)
    if kind == OPT:
        return _bare_reply(number, flags, FORMAT_ERROR)
    if version:
        return reply_to(query, rcode=BAD_VERSION)
    return query


def reply_to(
    query: Query,
    *,
    rcode: int = 0,
    is_authoritative: bool = False,
    offers_recursion: bool = False,
    answers: Sequence[RR] = (),
    authority: Sequence[RR] = (),
) -> bytes:
    """Return a reply; *rcode* is 0 to 23, of RFC 1035 and RFC 6891."""
    flags = _RESPONSE | query.flags & (_WANTED | _CHECKED) | rcode & _RCODE
    header = DNSHeader(id=query.number, bitmap=flags)
    header.aa, header.ra = int(is_authoritative), int(offers_recursion)
    question = DNSQuestion(DNSLabel(query.labels), query.kind, query.network_class)
    reply = DNSRecord(
        header, questions=[question], rr=list(answers), auth=list(authority)
    )
    if query.size:
        reply.add_ar(
            EDNS0(
                udp_len=MAX_LIMIT,
                flags="do" if query.wants_dnssec else "",
                ext_rcode=rcode >> 4,
            )
        )
    return bytes(reply.pack())


def fit(query: Query, reply: bytes, limit: int) -> bytes:
    """Return *reply*, or if it is longer than *limit* one that says: ask by TCP."""
    if len(reply) <= limit:
        return reply
    empty = bytearray(reply_to(query))
    kept = int.from_bytes(reply[2:4], "big")
    empty[2:4] = (kept | _TRUNCATED).to_bytes(2, "big")
    return bytes(empty)


def upstream_query(query: Query, number: int, name: bytes) -> bytes:
    """Return the same question to somebody else, under our own *number* and *name*."""
    flags = _WANTED | query.flags & (_CHECKED | _AUTHENTIC)
    head = _HEADER.pack(number, flags, 1, 0, 0, 1 if query.size else 0)
    edns = b""
    if query.size:
        bits = _DNSSEC_OK if query.wants_dnssec else 0
        edns = b"\0" + _RECORD.pack(OPT, MAX_LIMIT, bits, 0)
    return head + name + _KIND.pack(query.kind, query.network_class) + edns


def mix_case(name: bytes, bits: bytes) -> bytes:
    """Return *name* with letters in upper case where a bit of *bits* is set.

    An answer must repeat it, which who guesses answers cannot know ("0x20"). *bits*
    has as many bytes as the name.
    """
    # A length is at most 63, and so no letter.
    return bytes(
        byte ^ 0x20 if _is_letter(byte) and bit & 1 else byte
        for byte, bit in zip(name, bits, strict=True)
    )


def is_reply(data: bytes, number: int, question: bytes) -> bool:
    """Whether *data* is a reply to *question*, in any case, under that *number*."""
    if len(data) < _HEADER.size + len(question):
        return False
    got, flags, questions, *_ = _HEADER.unpack_from(data)
    heard = data[_HEADER.size : _HEADER.size + len(question)]
    return (
        got == number
        and bool(flags & _RESPONSE)
        and not flags & _OPCODE
        and questions == 1
        and heard.lower() == question.lower()
    )


def repeats(data: bytes, question: bytes) -> bool:
    """Whether the reply *data* repeats *question* letter by letter."""
    return data[_HEADER.size : _HEADER.size + len(question)] == question


def is_truncated(data: bytes) -> bool:
    """Whether the reply *data* says that TCP has more."""
    return bool(int.from_bytes(data[2:4], "big") & _TRUNCATED)


def rcode_of(data: bytes) -> int:
    """Return the code of the reply *data*, 0 to 15."""
    return data[3] & _RCODE


def for_asker(query: Query, data: bytes) -> bytes:
    """Return the reply *data* of an upstream as ours to *query*."""
    flags = int.from_bytes(data[2:4], "big") | _OFFERED
    rest = data[_HEADER.size + len(query.name) :]
    head = query.number.to_bytes(2, "big") + flags.to_bytes(2, "big") + data[4:12]
    return head + query.name + rest


def addresses_in(
    data: bytes,
) -> tuple[tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, ...], int]:
    """Return the addresses that a reply gives as answers, and the seconds they hold.

    Of what is malformed there are none.
    """
    found: list[ipaddress.IPv4Address | ipaddress.IPv6Address] = []
    times = []
    try:
        _, _, questions, answers, *_ = _unpack(_HEADER, data, 0)
        at = _HEADER.size
        for _ in range(min(questions, 1)):
            at = _skip_name(data, at) + _KIND.size
        for _ in range(min(answers, _MAX_RECORDS)):
            at = _skip_name(data, at)
            kind, _, seconds, size = _unpack(_RECORD, data, at)
            at += _RECORD.size
            if at + size > len(data):
                raise _Malformed
            if (kind, size) in ((A, 4), (AAAA, 16)):
                found.append(ipaddress.ip_address(data[at : at + size]))
                times.append(seconds)
            at += size
    except _Malformed:
        return (), 0
    return tuple(found), min(times, default=0)


def _bare_reply(number: int, flags: int, rcode: int) -> bytes:
    """Return a reply without the question, which was not understood."""
    kept = flags & (_OPCODE | _WANTED)
    return _HEADER.pack(number, _RESPONSE | kept | rcode, 0, 0, 0, 0)


def _read_edns(data: bytes, at: int, count: int) -> tuple[int, int, bool]:
    """Return size, version and DO of the OPT record; all 0 if there is none."""
    size, version, wants_dnssec = 0, 0, False
    if count > _MAX_ADDITIONAL:
        raise _Malformed
    for _ in range(count):
        start = at
        at = _skip_name(data, at)
        kind, network_class, bits, length = _unpack(_RECORD, data, at)
        at += _RECORD.size + length
        if kind == OPT:
            if size or data[start]:
                raise _Malformed  # there is one, of the root (RFC 6891, 6.1.1)
            size = max(network_class, MIN_LIMIT)
            version, wants_dnssec = bits >> 16 & 0xFF, bool(bits & _DNSSEC_OK)
    if at != len(data):
        raise _Malformed
    return size, version, wants_dnssec


def _skip_name(data: bytes, at: int, *, may_point: bool = True) -> int:
    """Return where the name that begins at *at* ends; pointers are not followed."""
    start = at
    while at < len(data):
        length = data[at]
        if length == 0:
            if at + 1 - start > _MAX_NAME:
                break
            return at + 1
        if length >= 0xC0 and may_point and at + 2 <= len(data):
            return at + 2
        if length > 63:
            break
        at += 1 + length
    raise _Malformed


def _unpack(layout: struct.Struct, data: bytes, at: int) -> tuple[int, ...]:
    if at + layout.size > len(data):
        raise _Malformed
    return layout.unpack_from(data, at)


def _is_letter(byte: int) -> bool:
    return 0x41 <= byte <= 0x5A or 0x61 <= byte <= 0x7A
