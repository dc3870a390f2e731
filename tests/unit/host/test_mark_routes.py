"""Routing rules by mark: what the kernel is asked for; as root it is asked."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pyroute2.netlink.exceptions import NetlinkError

from meshnode.errors import HostError
from meshnode.host import mark_routes
from meshnode.host.mark_routes import (
    MarkRule,
    add_mark_rule,
    delete_mark_rule,
    empty_table,
    route_all_here,
    route_all_into,
)
from meshnode.host.netlink import ROUTE_PROTOCOL

RULE = MarkRule(0x80, 0xFFFFFF80, 11)


class FakeNetlink:
    """Notes requests; `number` is the errno of its refusal, 0 for none."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        self.number = 0

    def rule(self, command: str, **fields: Any) -> None:
        """Take a request about a rule."""
        self._take("rule", command, fields)

    def route(self, command: str, **fields: Any) -> None:
        """Take a request about a route."""
        self._take("route", command, fields)

    def get_routes(self, **fields: Any) -> list[Any]:
        """Return nothing: what there is the kernel says to root alone."""
        return []

    def _take(self, kind: str, command: str, fields: dict[str, Any]) -> None:
        self.asked.append((kind, command, fields))
        if self.number:
            raise NetlinkError(self.number)


@pytest.fixture
def netlink(monkeypatch: pytest.MonkeyPatch) -> FakeNetlink:
    """A kernel that does as it is told."""
    fake = FakeNetlink()

    @contextmanager
    def connect() -> Iterator[FakeNetlink]:
        yield fake

    monkeypatch.setattr("pyroute2.IPRoute", connect)
    monkeypatch.setattr(mark_routes.sysctl, "read", lambda key: "0")
    return fake


def test_a_rule_is_for_both_versions(netlink: FakeNetlink) -> None:
    """With its mask, before those of prefixes, and known as ours."""
    add_mark_rule(RULE)
    assert [fields["family"] for _, _, fields in netlink.asked] == [2, 10]
    assert netlink.asked[0] == (
        "rule",
        "add",
        {
            "family": 2,
            "table": 11,
            "priority": 5200,
            "fwmark": 0x80,
            "fwmask": 0xFFFFFF80,
            "protocol": ROUTE_PROTOCOL,
        },
    )


def test_what_is_there_is_no_error(netlink: FakeNetlink) -> None:
    """Nor is what is gone; everything else is."""
    netlink.number = errno.EEXIST
    add_mark_rule(RULE)
    route_all_here(11)
    netlink.number = errno.ENOENT
    assert not delete_mark_rule(RULE)
    assert not empty_table(11)
    netlink.number = 0
    assert delete_mark_rule(RULE)
    netlink.number = errno.EPERM
    for ask in (add_mark_rule, delete_mark_rule):
        with pytest.raises(HostError, match="routing rule to table 11"):
            ask(RULE)


def test_a_table_leads_nowhere_without_its_interface(netlink: FakeNetlink) -> None:
    """What was meant for the tunnel must not leave elsewhere."""
    route_all_into("lo", 11)
    routes = [fields for _, _, fields in netlink.asked]
    assert [(one["dst"], one.get("type"), "oif" in one) for one in routes] == [
        ("0.0.0.0/0", 7, False),
        ("0.0.0.0/0", None, True),
        ("::/0", 7, False),
        ("::/0", None, True),
    ]
    with pytest.raises(HostError, match="is gone") as caught:
        route_all_into("no-such", 11)
    assert caught.value.errno == errno.ENODEV


def test_hosts_without_ipv6(
    netlink: FakeNetlink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are asked for IPv4 alone; deleting asks for both."""
    monkeypatch.setattr(mark_routes.sysctl, "read", lambda key: None)
    add_mark_rule(RULE)
    route_all_here(11)
    assert [fields["family"] for _, _, fields in netlink.asked] == [2, 2]
    delete_mark_rule(RULE)
    assert [fields["family"] for _, _, fields in netlink.asked[2:]] == [2, 10]
