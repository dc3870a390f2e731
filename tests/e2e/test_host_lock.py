"""The kill switch in the kernel: what gets out of a host that has one, and what not."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from meshnode.host.lock import Lock, lock_text
from meshnode.types import Prefix
from topology.hosts import Host, Lab, Port

pytestmark = pytest.mark.root

MARK = 0x6D6E
LAN = (Prefix.parse("198.18.2.0/24"), Prefix.parse("2001:db8:2::/64"))


@dataclass(frozen=True, slots=True)
class Site:
    """A locked host between the internet, a LAN, and a guest that it forwards for."""

    locked: Host
    outside: Port
    inner: Port
    near: Port
    guest: Host


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """One site for all tests of this file."""
    with Lab() as lab:
        locked = lab.router("locked")
        internet, near, guest = (lab.host(n) for n in ("internet", "near", "guest"))
        inner, outside = lab.connect(locked, internet)
        _, lan = lab.connect(locked, near)
        gate, _ = lab.connect(locked, guest)
        for host, port in ((internet, inner), (guest, gate)):
            host.ip(f"route add default via {port.v4}")
            host.ip(f"-6 route add default via {port.v6}")
        assert _answers(guest, outside.v4), "it forwards before it is locked"
        locked.nft(lock_text(Lock("home", "mesh0", MARK, LAN)))
        yield Site(locked, outside, inner, lan, guest)


def _answers(host: Host, address: str, *options: str) -> bool:
    command = ["ping", "-n", "-c", "1", "-W", "1", *options, address]
    return host.run(command, check=False).returncode == 0


def _places(port: Port) -> tuple[str, str]:
    return port.v4, port.v6


def test_nothing_gets_out(site: Site) -> None:
    """Neither the host's own packets nor those that it forwards."""
    for place in _places(site.outside):
        assert not _answers(site.locked, place)
        assert not _answers(site.guest, place)


def test_our_mark_and_exceptions_get_out(site: Site) -> None:
    """Loopback does, too."""
    for place in _places(site.outside):
        assert _answers(site.locked, place, "-m", str(MARK))
        assert not _answers(site.locked, place, "-m", str(MARK + 1))
    for place in (*_places(site.near), "127.0.0.1", "::1"):
        assert _answers(site.locked, place)


def test_callers_are_answered(site: Site) -> None:
    """By TCP and by echo; but a datagram from outside opens no way back."""
    for place in _places(site.inner):
        assert _answers(site.outside.host, place)
    site.locked.start(["socat", "TCP4-LISTEN:7000,reuseaddr", "SYSTEM:echo hello"])
    site.locked.start(["socat", "UDP4-LISTEN:7000", "SYSTEM:echo hello"])
    answers = {}
    for kind in ("TCP4", "UDP4"):
        place = f"{kind}:{site.inner.v4}:7000"
        command = ["socat", "-T1", "-", f"{place},retry=3,interval=0.2"]
        result = site.outside.host.run(command, stdin="?\n", check=False)
        answers[kind] = result.stdout
    assert answers == {"TCP4": "hello\n", "UDP4": ""}
