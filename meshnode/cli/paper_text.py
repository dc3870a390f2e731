"""Certificates, requests and permissions as text for people."""

import time
from typing import Any

from meshnode.cli.tables import span

_LABELS = (
    ("name", "name"),
    ("network", "network"),
    ("networkId", "network id"),
    ("cidr", "addresses of"),
    ("key", "key"),
    ("issuingKey", "issuing key"),
    ("ipv4", "IPv4"),
    ("ipv6", "IPv6"),
    ("pools", "pools"),
    ("groups", "groups"),
    ("routes", "routes"),
    ("roles", "roles"),
)


def paper_lines(paper: dict[str, Any], wall: float) -> list[str]:
    """Return the lines that show *paper*, as `manage.papers` describes it."""
    lines = [("paper", str(paper["paper"]))]
    lines += [
        (label, _text(paper[key]))
        for key, label in _LABELS
        if paper.get(key) != []
        if key in paper
    ]
    gateways = paper.get("gatewayNames") or paper.get("gateways")
    if gateways:
        lines.append(("behind", ", ".join(gateways)))
    if "maxLifetime" in paper:
        lines.append(("certifies for", f"at most {span(paper['maxLifetime'])}"))
    if "notAfter" in paper:
        lines.append(("valid", _validity(paper, wall)))
    if "memberSince" in paper:
        lines.append(("member since", _date(paper["memberSince"])))
    if "issuer" in paper:
        issuer = paper["issuer"]
        lines.append(("issuer", issuer["name"] if issuer else "an authority"))
    lines += [
        ("contact", f"{', '.join(one['places'])} ({one['key']})")
        for one in paper.get("contacts", ())
    ]
    width = max(len(label) for label, _ in lines)
    return [f"{label:{width}}  {text}" for label, text in lines]


def _text(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)


def _validity(paper: dict[str, Any], wall: float) -> str:
    begin, end = paper["notBefore"], paper["notAfter"]
    if wall < begin:
        state = f"begins in {span(begin - wall)}"
    elif wall <= end:
        state = f"ends in {span(end - wall)}"
    else:
        state = f"ended {span(wall - end)} ago"
    return f"{_date(begin)} to {_date(end)}, {state}"


def _date(wall: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(wall))
