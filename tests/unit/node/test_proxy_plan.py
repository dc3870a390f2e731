"""What the proxy process shall serve, from configuration and mesh."""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from meshnode.codec.proxy_link import (
    KEPT_SOCKET,
    OWN_SOCKET,
    PlannedResolver,
    encode_plan,
)
from meshnode.codec.records import Role
from meshnode.crypto import passwords
from meshnode.manage.config_values import (
    AnnouncedRoute,
    DnsSettings,
    ExitSettings,
    NetworkConfig,
)
from meshnode.manage.proxy_text import ProxyListener
from meshnode.manage.users_file import make_hash, save_user
from meshnode.node.proxy_plan import EXIT_PORT, Facts, make_plan
from meshnode.types import Endpoint, Prefix
from tests.unit.node.shell_parts import Shell

LOCAL = Endpoint("127.0.0.1", 1080)
FACTS = Facts("home", ("192.0.2.5",), frozenset())
NO_EXIT = ExitSettings()
LAN = Prefix.parse("192.168.7.0/24")


@pytest.fixture
def shell(
    rng: random.Random, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Shell]:
    """A founder, alone."""
    shell = Shell(rng, tmp_path, monkeypatch)
    shell.start()
    yield shell
    shell.close()


def config(*listeners: ProxyListener, offer: bool = False) -> NetworkConfig:
    """Return a configuration."""
    return NetworkConfig(
        "home",
        proxies=listeners,
        exit=ExitSettings(offer=offer),
        announced=(
            AnnouncedRoute(LAN),
            AnnouncedRoute(Prefix.parse("0.0.0.0/0")),
            AnnouncedRoute(Prefix.parse("10.200.1.0/24"), mapped=LAN),
        ),
    )


def test_members_have_names(shell: Shell) -> None:
    """With their addresses, and the network's prefixes."""
    plan, problems = make_plan(config(), shell.node, FACTS)
    assert problems == ()
    assert plan.network == shell.node.trust.charter.name
    [member] = plan.members
    ours = shell.node.membership.by_key(shell.node.key)
    assert ours is not None
    assert member.name == ours.certificate.name
    assert [Prefix.parse(str(one)).version for one in plan.overlay] == [4, 6]
    assert (plan.listeners, plan.exit) == ((), None)
    encode_plan(plan)


def test_a_listener_is_as_configured(shell: Shell) -> None:
    """A Unix socket only if there is one."""
    path = Path("/run/x")
    listeners = (
        ProxyListener(LOCAL, "http", allow=("a.org",), deny=("*:22",)),
        ProxyListener(path),
    )
    plan, _ = make_plan(config(*listeners), shell.node, FACTS)
    [one] = plan.listeners
    assert (one.place, one.kind, one.socket) == (str(LOCAL), "http", OWN_SOCKET)
    assert (one.exits, one.users) == (None, None)
    assert (one.allow, one.deny) == (("a.org",), ("*:22",))
    bound = replace(FACTS, bound=frozenset({"unix:/run/x"}))
    plan, _ = make_plan(config(*listeners), shell.node, bound)
    assert plan.listeners[1].socket == KEPT_SOCKET


def test_users_come_along(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without their file nobody is served: better than everybody."""
    monkeypatch.setattr(passwords, "KIB", 8)
    listener = ProxyListener(LOCAL, users_file=tmp_path / "users")
    plan, problems = make_plan(config(listener), shell.node, FACTS)
    assert plan.listeners == ()
    assert "meshnode proxy user" in problems[0]
    known = make_hash(b"secret")
    save_user(tmp_path / "users", "alice", known)
    plan, problems = make_plan(config(listener), shell.node, FACTS)
    [user] = plan.listeners[0].users or ()
    assert (user.name, user.known, problems) == ("alice", str(known), ())


def test_an_exit_that_is_unknown_lets_nothing_out(shell: Shell) -> None:
    """It is said; no other way is taken."""
    listener = ProxyListener(LOCAL, exit=("paris",))
    plan, problems = make_plan(config(listener), shell.node, FACTS)
    assert plan.listeners[0].exits == ()
    assert problems == ("127.0.0.1:1080: exit paris is no member; see: meshnode peers",)
    ours = plan.members[0].name
    _, problems = make_plan(config(replace(listener, exit=(ours,))), shell.node, FACTS)
    assert f"exit {ours} is this node itself" in problems[0]


class _Member:
    """A member that is an exit, as far as it matters here."""

    def __init__(self, number: int, roles: Role = Role.EXIT) -> None:
        self.key = bytes([number]) * 32
        self.certificate = SimpleNamespace(roles=roles)
        self.addresses = (
            Prefix.parse(f"10.77.0.{number}/32"),
            Prefix.parse(f"fd00::{number}/128"),
        )


def test_exits_are_in_order_the_unhealthy_last(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever does not answer is still better than nobody."""
    known = {"paris": _Member(1), "rome": _Member(2), "oslo": _Member(3)}
    monkeypatch.setattr(shell.node.membership, "by_name", known.get)
    kind = type(shell.node.owners)
    silent = frozenset({known["paris"].key})
    monkeypatch.setattr(kind, "unhealthy", property(lambda self: silent))
    listener = ProxyListener(LOCAL, exit=("paris", "rome", "oslo"))
    plan, problems = make_plan(config(listener), shell.node, FACTS)
    assert plan.listeners[0].exits == tuple(
        Endpoint(f"10.77.0.{number}", EXIT_PORT) for number in (2, 3, 1)
    )
    assert problems == ()
    known["rome"] = _Member(2, Role.RELAY)
    _, problems = make_plan(config(listener), shell.node, FACTS)
    assert problems == (
        "127.0.0.1:1080: exit rome is certified for no such thing; at an issuer: "
        "meshnode cert grant rome --role exit",
    )


def test_the_resolver_is_at_our_addresses(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks whom it is told to, else the exit in use; on one, whom the host asks."""
    outside, host = Endpoint("192.0.2.53", 53), Endpoint("192.0.2.1", 53)
    facts = replace(FACTS, resolvers=(host,))

    def resolver(
        dns: DnsSettings, exit_: ExitSettings = NO_EXIT
    ) -> PlannedResolver | None:
        return make_plan(replace(config(), dns=dns, exit=exit_), shell.node, facts)[
            0
        ].resolver

    assert resolver(DnsSettings(resolver=False)) is None
    found = resolver(DnsSettings())
    assert found is not None
    assert [(one.version, one.port) for one in found.places] == [(4, 53), (6, 53)]
    assert (found.own, found.upstream) == (shell.node.own.certificate.name, ())
    found = resolver(DnsSettings(upstream=(outside,)), ExitSettings(offer=True))
    assert found is not None
    assert found.upstream == (outside,)
    found = resolver(DnsSettings(), ExitSettings(offer=True))
    assert found is not None
    assert found.upstream == (host,)
    known = {"paris": _Member(1)}
    monkeypatch.setattr(shell.node.membership, "by_name", known.get)
    found = resolver(DnsSettings(), ExitSettings(use=("paris", "rome")))
    assert found is not None
    assert found.upstream == (Endpoint("10.77.0.1", 53),)


def test_who_offers_an_exit_serves_members(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If its certificate says so; LANs that it announces are open to them."""
    ours = shell.node.membership.by_key(shell.node.key)
    assert ours is not None
    plan, _ = make_plan(config(offer=True), shell.node, FACTS)
    roles = ours.certificate.roles
    assert (plan.exit is not None) == bool(roles & Role.EXIT)
    certified = replace(
        ours, certificate=replace(ours.certificate, roles=roles | Role.EXIT)
    )
    monkeypatch.setattr(shell.node.membership, "by_key", lambda key: certified)
    plan, _ = make_plan(config(offer=True), shell.node, FACTS)
    assert plan.exit is not None
    assert [one.port for one in plan.exit.places] == [EXIT_PORT] * 2
    assert [one.version for one in plan.exit.places] == [4, 6]
    assert plan.exit.announced == (LAN,)
    assert (plan.exit.device, plan.exit.own) == ("home", ("192.0.2.5",))
    assert make_plan(config(), shell.node, FACTS)[0].exit is None
