"""Questions and answers in the words that people use: `A`, `NXDOMAIN`, records."""

from typing import Any, Final

from dnslib import QTYPE, RCODE, DNSError, DNSLabel, DNSRecord

from meshnode.errors import UsageError
from meshnode.names.message import MAX_LIMIT, Query

_WANTED: Final = 0x0100
_KINDS: Final = ("A", "AAAA", "CNAME", "HTTPS", "MX", "NS", "PTR", "SOA", "SRV", "TXT")
_MAX_LABEL, _MAX_NAME = 63, 253


def make_query(name: str, kind: str) -> Query:
    """Return the question for records of the type *kind* that *name* has.

    Raises:
        UsageError: if it cannot be asked.
    """
    if kind.upper() not in _KINDS:
        raise UsageError(f"{kind!r} is not one of {', '.join(_KINDS)}")
    labels = [label.encode("ascii", "replace") for label in name.split(".")]
    if labels[-1] == b"":
        labels.pop()
    is_name = name.isascii() and name.isprintable() and len(name) <= _MAX_NAME
    if (
        not is_name
        or not labels
        or not all(1 <= len(label) <= _MAX_LABEL for label in labels)
    ):
        raise UsageError(f"{name!r} is no name of DNS")
    wire = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    number = int(QTYPE.reverse[kind.upper()])
    return Query(0, _WANTED, wire, number, 1, size=MAX_LIMIT)


def describe_reply(data: bytes) -> dict[str, Any] | None:
    """Return code and records of a reply; None if it is malformed."""
    try:
        parsed = DNSRecord.parse(data)
        records = [
            {
                "name": _text(record.rname),
                "type": _name_of(QTYPE, record.rtype),
                "ttl": int(record.ttl),
                "data": str(record.rdata).removesuffix("."),
            }
            for record in parsed.rr
        ]
    except (DNSError, ValueError, RecursionError):
        return None
    return {"code": _name_of(RCODE, parsed.header.rcode), "records": records}


def _text(name: DNSLabel) -> str:
    return str(name).removesuffix(".") or "."


def _name_of(names: Any, number: int) -> str:
    """Return the name of a code, the number itself if it has none."""
    return str(names.forward.get(number, number))
