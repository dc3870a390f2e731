"""What is asked of the UPnP library, and what becomes of its refusals."""

import sys
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from meshnode.errors import HostError
from meshnode.host.upnp import MAX_PORTS, UpnpMapping, has_upnp
from meshnode.types import Endpoint

HOME = "192.168.7.5"


class FakeRouter:
    """A router as the library shows it; `taken` are ports of other hosts."""

    found: ClassVar[list["FakeRouter"]] = []
    is_none = False

    def __init__(self, *, multicastif: str, discoverdelay: int) -> None:
        assert multicastif == HOME
        assert discoverdelay > 0
        self.ports: dict[int, tuple[Any, ...]] = {}
        self.taken: set[int] = set()
        FakeRouter.found.append(self)

    def discover(self) -> int:
        """Look for routers."""
        return 1

    def selectigd(self) -> str:
        """Choose one."""
        if FakeRouter.is_none:
            raise Exception("No UPnP device discovered")
        return "http://192.168.7.1/"

    def externalipaddress(self) -> str:
        """Return the outside address."""
        return "203.0.113.1"

    def addportmapping(self, outside: int, *rest: Any) -> bool:
        """Forward a port."""
        if outside in self.taken:
            raise Exception("ConflictInMappingEntry")
        self.ports[outside] = rest
        return True

    def deleteportmapping(self, outside: int, protocol: str) -> bool:
        """Forward it no more."""
        assert protocol == "UDP"
        if outside not in self.ports:
            raise Exception("NoSuchEntryInArray")
        del self.ports[outside]
        return True


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the fake in the library's place."""
    FakeRouter.found = []
    monkeypatch.setattr(FakeRouter, "is_none", False)
    monkeypatch.setitem(sys.modules, "miniupnpc", SimpleNamespace(UPnP=FakeRouter))


def test_port_is_forwarded_and_given_back() -> None:
    """One router is looked for once; a renewal keeps the port."""
    mapping = UpnpMapping(HOME, 51820)
    assert mapping.renew(7200) == Endpoint("203.0.113.1", 51820)
    assert mapping.renew(7200) == Endpoint("203.0.113.1", 51820)
    (router,) = FakeRouter.found
    assert router.ports == {51820: ("UDP", HOME, 51820, "meshnode", "", 7200)}
    mapping.end()
    assert router.ports == {}
    mapping.end()


def test_port_of_another_host_is_left_to_it() -> None:
    """The next ones are tried, and the one we got is kept."""
    mapping = UpnpMapping(HOME, 65535)
    mapping.renew(60)
    (router,) = FakeRouter.found
    router.taken = {65535, 1}
    assert mapping.renew(60) == Endpoint("203.0.113.1", 2)
    router.taken = set(range(2, 2 + MAX_PORTS))
    with pytest.raises(HostError, match="ConflictInMappingEntry"):
        mapping.renew(60)
    router.taken = set()
    mapping.renew(60)
    assert len(FakeRouter.found) == 2


def test_without_router_or_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of one line, and nothing to end."""
    monkeypatch.setattr(FakeRouter, "is_none", True)
    mapping = UpnpMapping(HOME, 51820)
    with pytest.raises(HostError, match="No UPnP device"):
        mapping.renew(60)
    mapping.end()
    assert has_upnp()
    monkeypatch.setitem(sys.modules, "miniupnpc", None)
    assert not has_upnp()


def test_refused_goodbye_is_said() -> None:
    """The router may have begun anew; there is nothing more to end then."""
    mapping = UpnpMapping(HOME, 51820)
    mapping.renew(60)
    FakeRouter.found[0].ports.clear()
    with pytest.raises(HostError, match="NoSuchEntry"):
        mapping.end()
    mapping.end()
