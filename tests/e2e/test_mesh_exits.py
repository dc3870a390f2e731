"""Exits, the full tunnel and its kill switch, with an internet that both can reach."""

import ipaddress
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.e2e.mesh_parts import (
    PATIENCE,
    MeshHost,
    Site,
    kill_process,
    leftovers,
    traces,
)
from topology.hosts import Host, Lab, wait_until
from topology.processes import Process

pytestmark = pytest.mark.root

INTERNET = ("203.0.113.9", "2001:db8:f::9")
PRINTER = "192.0.2.9"
USER = ("192.0.2.7", "2001:db8:a::7")
TCP, UDP = 7001, 7002


@dataclass(frozen=True, slots=True)
class World:
    """A user behind a router, two exits, and the internet beyond that router.

    Berlin carries IPv4 only.
    """

    exits: dict[str, MeshHost]
    user: MeshHost
    internet: Host

    def address(self, name: str, version: int) -> str:
        """Return the underlay address of an exit."""
        port = self.exits[name].port
        return port.v4 if version == 4 else port.v6

    def seen(self, version: int, protocol: str) -> str:
        """Return the address by which the internet sees the user, "" without one."""
        target = f"[{INTERNET[1]}]" if version == 6 else INTERNET[0]
        port = TCP if protocol == "TCP" else UDP
        place = f"{protocol}{version}:{target}:{port}"
        options = ",connect-timeout=1" if protocol == "TCP" else ""
        result = self.user.host.run(
            ["socat", "-T3", "-t3", "-", f"{place}{options}"],
            stdin="?\n",
            check=False,
        )
        found = result.stdout.strip().strip("[]")
        return str(ipaddress.ip_address(found)) if found else ""

    def await_seen(self, address: str, protocol: str = "TCP") -> None:
        """Wait until the internet sees the user by this address."""
        version = ipaddress.ip_address(address).version
        wait_until(
            lambda: self.seen(version, protocol) == address,
            f"the internet sees {address} by {protocol}",
            timeout=PATIENCE,
        )


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """One world for all tests of this file."""
    with Lab() as lab:
        site = Site(lab)
        router = lab.router("router")
        internet, printer = lab.host("internet"), lab.host("printer")
        site.lan.attach(lab, router, v4="198.18.0.250/24", v6="2001:db8::250/64")
        beyond, home = site.segment("beyond"), site.segment("at_home")
        beyond.attach(lab, router, v4="203.0.113.1/24", v6="2001:db8:f::1/64")
        beyond.attach(lab, internet, v4=f"{INTERNET[0]}/24", v6=f"{INTERNET[1]}/64")
        home.attach(lab, router, v4="192.0.2.1/24", v6="2001:db8:a::1/64")
        home.attach(lab, printer, v4=f"{PRINTER}/24")
        exits = {name: site.host(name, v6=True) for name in ("paris", "berlin")}
        port = home.attach(
            lab, lab.host("user"), v4=f"{USER[0]}/24", v6=f"{USER[1]}/64"
        )
        user = MeshHost(port)
        for host, via in (
            *((one.host, "198.18.0.250 2001:db8::250") for one in exits.values()),
            (internet, "203.0.113.1 2001:db8:f::1"),
            (user.host, "192.0.2.1 2001:db8:a::1"),
        ):
            v4, v6 = via.split()
            host.ip(f"route add default via {v4}")
            host.ip(f"-6 route add default via {v6}")
        # The strictest setting there is: what comes in must have its way back there.
        user.host.sysctl("net.ipv4.conf.all.rp_filter", 1)
        user.host.start(
            ["socat", f"TCP4-LISTEN:{TCP},fork,reuseaddr", "SYSTEM:echo hello"]
        )
        for word, version in (("", 4), (",ipv6only", 6)):
            for kind, number in (("TCP", TCP), ("UDP", UDP)):
                internet.start(
                    [
                        "socat",
                        f"{kind}{version}-LISTEN:{number},fork,reuseaddr{word}",
                        "SYSTEM:echo $SOCAT_PEERADDR",
                    ]
                )
        paris, berlin = exits.values()
        grant = ("--role", "exit", "--route", "0.0.0.0/0", "--route", "::/0")
        paris.found()
        paris.up()
        told = paris.run("exit", "offer").stderr
        assert "cert grant paris --role exit" in told
        paris.run("cert", "grant", "paris", *grant)
        berlin.join(paris.invite(*grant[:4]))
        berlin.run("exit", "offer")
        user.join(paris.invite())
        wait_until(
            lambda: len(user.ask("exit")["exits"]) == len(exits),
            "both exits are known",
            timeout=PATIENCE,
        )
        yield World(exits, user, internet)


class Leaks:
    """What leaves the user's host in clear towards the internet, from its making."""

    def __init__(self, world: World) -> None:
        places = " or ".join(f"host {one}" for one in INTERNET)
        self._process = world.user.host.start(
            f"tcpdump -n -l --immediate-mode -Z root -Q out -i at_home {places}"
        )
        wait_until(lambda: "listening on" in self._process.output, "a capture")

    @property
    def seen(self) -> list[str]:
        """The lines of tcpdump, one for each packet but answers to a caller."""
        lines = self._process.output.splitlines()
        answers = ("ICMP echo reply", "ICMP6, echo reply", f"{USER[0]}.{TCP} > ")
        return [
            line
            for line in lines
            if " IP" in line and not any(answer in line for answer in answers)
        ]

    def end(self) -> None:
        """Take no more."""
        self._process.stop()


def _chatter(user: Host) -> list[Process]:
    """Start what talks to the internet all the time, by every protocol."""
    loops = [
        f"while :; do echo x | socat -T1 - {kind}:{target}:{port}; sleep 0.2; done"
        for kind, target, port in (
            ("TCP4", INTERNET[0], f"{TCP},connect-timeout=1"),
            ("TCP6", f"[{INTERNET[1]}]", f"{TCP},connect-timeout=1"),
            ("UDP4", INTERNET[0], UDP),
            ("UDP6", f"[{INTERNET[1]}]", UDP),
        )
    ]
    loops.append(
        f"while :; do dig +time=1 +tries=1 @{INTERNET[0]} example.org; sleep 0.2; done"
    )
    loops += [f"exec ping -n -i 0.2 {one}" for one in INTERNET]
    return [user.start(["sh", "-c", f"exec 2>/dev/null; {loop}"]) for loop in loops]


def _listing(host: Host) -> str:
    commands = ("ip -4 rule", "ip -6 rule", "ip route show table all")
    commands += ("ip -6 route show table all", "nft -s list ruleset")
    text = "\n".join(host.run(command).stdout for command in commands)
    # The kernel draws the link-local address of every new interface by lot.
    text = re.sub(r"fe80::[0-9a-f:]+", "fe80::", text)
    return "\n".join(sorted(text.splitlines()))


def test_everything_leaves_by_the_exit_and_moves_to_the_next(world: World) -> None:
    """All protocols, both versions; a LAN stays outside; then `off` leaves nothing."""
    user = world.user
    world.await_seen(USER[0])
    before, kernel = _listing(user.host), traces(user.host)
    code, text = user.refusal("exit", "use", "rome")
    assert (code, text.count("exit list")) == (3, 1)
    user.run("exit", "use", "paris,berlin", "--lan", f"{PRINTER}/32")
    leaks = Leaks(world)
    for version in (4, 6):
        world.await_seen(world.address("paris", version), "TCP")
        world.await_seen(world.address("paris", version), "UDP")
    pings = world.internet.start("tcpdump -n -l --immediate-mode -Z root icmp")
    wait_until(lambda: "listening on" in pings.output, "a capture")
    assert user.answers(INTERNET[0], within=3)
    assert f"{world.address('paris', 4)} > {INTERNET[0]}: ICMP echo" in pings.output
    assert user.answers(PRINTER)
    assert f"dev {user.network}" in user.host.ip("route get 192.0.2.1")
    assert leaks.seen == []
    # Who calls the host from outside is answered.
    for address in USER:
        world.internet.run(f"ping -n -c 1 -W 2 {address}")
    call = ["socat", "-T3", "-", f"TCP4:{USER[0]}:{TCP}"]
    assert world.internet.run(call).stdout == "hello\n"
    # An exit's own surroundings are not the internet.
    assert not user.answers(world.address("berlin", 4))
    assert user.json("exit", "status")["inUse"] == "paris"
    assert user.json("trace", INTERNET[0])["owners"][0]["name"] == "paris"
    kill_process(world.exits["paris"].roles()["supervisor"])
    killed = time.monotonic()
    world.await_seen(world.address("berlin", 4))
    took = time.monotonic() - killed
    print(f"berlin carries after {took:.1f} s")
    assert took < 20
    assert leaks.seen == []
    leaks.end()
    user.run("exit", "off")
    assert _listing(user.host) == before
    assert leftovers(user.host, kernel) == []
    world.await_seen(USER[0])
    world.exits["paris"].await_end()
    world.exits["paris"].up()


def test_nothing_leaks_while_everything_dies(world: World) -> None:
    """Each process is killed in turn, the supervisor too; `up` works under the lock."""
    user = world.user
    before = _listing(user.host)
    talk = _chatter(user.host)
    user.run("exit", "use", "berlin")
    leaks = Leaks(world)
    # It carries no IPv6, so there is none.
    world.await_seen(world.address("berlin", 4))
    refused = user.host.run(f"ping -n -c 1 -W 2 {INTERNET[1]}", check=False)
    assert "unreachable" in refused.stdout, refused.stdout
    user.run("exit", "use", "paris")
    world.await_seen(world.address("paris", 6))
    roles = [role for role in user.roles() if role != "supervisor"]
    assert len(roles) >= 3
    for role in roles:
        kill_process(user.roles()[role])
        wait_until(lambda r=role: r in user.roles(), f"{role} is back")  # type: ignore[misc]
        time.sleep(0.5)
    world.await_seen(world.address("paris", 4))
    kill_process(user.roles()["supervisor"])
    user.await_end()
    user.run("cleanup")
    time.sleep(1)
    assert world.seen(4, "TCP") == ""
    assert user.json("exit", "status")["isLocked"]
    user.up()
    world.await_seen(world.address("paris", 4))
    told = user.run("down").stderr
    assert "meshnode exit off" in told
    user.await_end()
    time.sleep(0.5)
    assert leaks.seen == []
    user.run("exit", "off")
    # They have been trying all the time, and the capture would have seen them.
    wait_until(
        lambda: all(
            any(f"> {place}" in line for line in leaks.seen)
            for place in (*INTERNET, f"{INTERNET[0]}.{TCP}", f"{INTERNET[0]}.{UDP}")
        ),
        "the talk leaves in clear again",
    )
    leaks.end()
    for one in talk:
        one.stop()
    assert "lock" not in user.host.run("nft list tables").stdout
    world.await_seen(USER[0])
    user.up()
    assert _listing(user.host) == before
