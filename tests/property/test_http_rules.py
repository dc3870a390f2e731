"""Compiled lists of hosts agree with a walk over their entries, one by one."""

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from meshnode.proxy.http_rules import RuleBook
from meshnode.types import Target

labels = st.sampled_from(["a", "b", "mesh", "x-1"])
names = st.lists(labels, min_size=1, max_size=4).map(".".join)
addresses = st.sampled_from(
    ["10.0.0.1", "10.0.7.1", "10.1.0.1", "192.0.2.1", "2001:db8::1", "2001:db8:1::1"]
)
networks = st.sampled_from(
    [
        *("10.0.0.0/8", "10.0.0.0/21", "10.0.0.0/24", "192.0.2.0/31", "0.0.0.0/0"),
        *("2001:db8::/32", "2001:db8::/48", "::/0"),
    ]
)
ports = st.sampled_from([1, 80, 443])
places = st.one_of(names, names.map("*.{}".format), addresses, networks, st.just("*"))


@st.composite
def entries(draw: st.DrawFn) -> str:
    """An entry, with a port or without one."""
    place = draw(places)
    if not draw(st.booleans()):
        return place
    bracketed = f"[{place}]" if ":" in place else place
    return f"{bracketed}:{draw(ports)}"


def matches(entry: str, host: str, port: int) -> bool:
    """Whether one entry covers a host in canonical form."""
    place, wanted = entry, port
    if entry.startswith("["):
        place, _, rest = entry[1:].partition("]")
        wanted = int(rest[1:])
    elif entry.count(":") == 1:
        place, _, text = entry.partition(":")
        wanted = int(text)
    if wanted != port:
        return False
    if place == "*":
        return True
    if "/" in place:
        try:
            return ipaddress.ip_address(host) in ipaddress.ip_network(place)
        except ValueError:
            return False
    if place.startswith("*."):
        return host.endswith(place[1:])
    return host == place


@given(
    st.lists(entries(), max_size=5),
    st.lists(entries(), max_size=5),
    st.one_of(names, addresses),
    ports,
)
def test_lists_agree_with_a_walk(
    allow: list[str], deny: list[str], host: str, port: int
) -> None:
    """For tunnels and for requests, however the host is written."""
    expected = not any(matches(entry, host, port) for entry in deny) and (
        not allow or any(matches(entry, host, port) for entry in allow)
    )
    book = RuleBook(allow, deny)
    for written in (host, host.upper(), f"{host}." if ":" not in host else f"[{host}]"):
        assert book.permits(Target(written, port)) == expected
        assert book.permits_url(Target(written, port), "/a/../b") == expected
