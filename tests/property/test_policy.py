"""The compiled filter says of every packet what the policy says of it."""

import random
from ipaddress import ip_address, ip_network

import pytest

from meshnode.hostplan import Filter, Service, Transport
from meshnode.mesh.policy import Directory, PolicyMember, compile_filter, explain
from meshnode.mesh.policy_text import AccessPolicy, parse_policy
from meshnode.types import Prefix

GROUPS = ("ops", "web", "lab")
SERVICES = ("any", "icmp", "tcp", "udp", "tcp:22", "tcp:20-30", "udp:53", "tcp:25-80")


def random_policy(rng: random.Random) -> str:
    """Return the text of a policy about ten members and two LANs."""
    selectors = (
        *("*", *(f"group:{name}" for name in GROUPS), *(f"m{n}" for n in range(10))),
        *("10.99.0.0/29", "192.168.7.0/24", "192.168.0.0/16", "fd99::/125", "gone"),
    )

    def some() -> str:
        return str(rng.sample(selectors, rng.randint(1, 3))).replace("'", '"')

    return 'default = "deny"\n' + "".join(
        f"[[rule]]\nfrom = {some()}\nto = {some()}\n"
        f'allow = ["{rng.choice(SERVICES)}", "{rng.choice(SERVICES)}"]\n'
        for _ in range(rng.randrange(6))
    )


def matches(service: Service, transport: Transport, port: int) -> bool:
    """Whether a packet belongs to a service."""
    if service.transport is Transport.ANY:
        return True
    in_range = not service.first or service.first <= port <= service.last
    return service.transport is transport and in_range


def passes(
    rules: Filter, source: Prefix, destination: Prefix, transport: Transport, port: int
) -> bool:
    """Do what the firewall does with a packet, one address at a time."""

    def among(prefixes: tuple[Prefix, ...], one: Prefix) -> bool:
        address = ip_address(str(one).partition("/")[0])
        return any(address in ip_network(str(prefix)) for prefix in prefixes)

    return any(
        among(allow.sources, source)
        and among(allow.destinations, destination)
        and any(matches(service, transport, port) for service in allow.services)
        for allow in rules.allows
    )


def random_address(rng: random.Random) -> Prefix:
    """Return a member's address, or one of a LAN."""
    n = rng.randrange(12)
    forms = (f"10.99.0.{n}", f"fd99::{n:x}", f"192.168.7.{n}", f"192.168.8.{n}")
    return Prefix.parse(rng.choice(forms))


@pytest.mark.parametrize("round_", range(5))
def test_filter_does_what_the_policy_says(
    rng: random.Random, seed: int, round_: int
) -> None:
    """For receivers that are ours; nothing passes for others."""
    for step in range(30):
        members = [
            PolicyMember(
                f"m{n}",
                tuple(rng.sample(GROUPS, rng.randrange(3))),
                (Prefix.parse(f"10.99.0.{n}"), Prefix.parse(f"fd99::{n:x}")),
            )
            for n in range(10)
        ]
        directory = Directory(members)
        policy: AccessPolicy = parse_policy(random_policy(rng))
        ours = (*members[3].addresses, Prefix.parse("192.168.7.0/24"))
        rules = compile_filter(policy, directory, ours)
        assert rules is not None
        own = [ip_network(str(prefix)) for prefix in ours]
        for _ in range(60):
            source, destination = random_address(rng), random_address(rng)
            if source.version != destination.version:
                continue
            transport = rng.choice((Transport.TCP, Transport.UDP, Transport.ICMP))
            port = 0 if transport is Transport.ICMP else rng.randint(18, 90)
            service = Service(transport, port, port)
            is_ours = any(
                ip_address(str(destination).partition("/")[0]) in one for one in own
            )
            verdict = explain(policy, directory, source, destination, service)
            expected = is_ours and verdict.allowed
            found = passes(rules, source, destination, transport, port)
            where = f"seed {seed}, round {round_}, step {step}: {source} {destination}"
            assert found == expected, where
