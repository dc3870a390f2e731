"""Several networks on one host at a time."""

from collections.abc import Iterator

import pytest

from tests.e2e.mesh_parts import PATIENCE, MeshHost, Site
from topology.hosts import Lab, wait_until

pytestmark = pytest.mark.root


def _two(site: Site, cidrs: tuple[str, str]) -> Iterator[tuple[MeshHost, MeshHost]]:
    """Found two networks on two hosts; the host `both` is in both."""
    ports = (site.host("first").port, site.host("second").port, site.host("both").port)
    for number, (network, cidr) in enumerate(zip(("red", "blue"), cidrs, strict=True)):
        founder = MeshHost(ports[number], network=network)
        both = MeshHost(ports[2], network=network)
        founder.run(
            *("network", "create", network, "--cidr", cidr, "--no-passphrase"),
            *("--name", founder.name),
        )
        founder.up()
        port = str(51820 + number)
        both.join(founder.invite(), "--listen-port", port, "--accept-routes")
        yield founder, both


def _await_accepted(member: MeshHost, prefix: str) -> None:
    wait_until(
        lambda: member.routes().get(prefix, {}).get("state") == "accepted",
        f"{member} accepts {prefix}",
        timeout=PATIENCE,
    )


def test_networks_do_not_mix(lab: Lab) -> None:
    """Each has its own interface, keys and table; stopping one leaves the other."""
    site = Site(lab)
    (first, red), (second, blue) = _two(site, ("10.77.0.0/16", "10.88.0.0/16"))
    host = red.host
    assert {"red", "blue"} <= host.interfaces()
    of_red, of_blue = red.json("status", "red"), blue.json("status", "blue")
    for key in ("key", "interface", "port", "ipv4", "ipv6", "networkId", "ula"):
        assert of_red[key] != of_blue[key]
    red.pings(first)
    blue.pings(second)
    listed = red.json("network", "list")["networks"]
    assert {one["name"]: one["isUp"] for one in listed} == {"red": True, "blue": True}
    assert red.refusal("status")[0] != 0
    for founder, member, prefix in (
        (first, red, "10.1.0.0/24"),
        (second, blue, "10.2.0.0/24"),
    ):
        # A founder may announce whatever it issues itself.
        founder.run("cert", "grant", founder.name, "--route", prefix)
        founder.run("route", "add", prefix)
        _await_accepted(member, prefix)
    tables = host.run("ip rule").stdout
    assert tables.count("proto 109") + tables.count("lookup 109") >= 2
    red.run("down", "red")
    wait_until(lambda: "red" not in host.interfaces(), "its interface is gone")
    blue.pings(second)
    assert "10.2.0.0/24 dev blue" in host.run("ip route show table all").stdout
    assert "10.1.0.0/24" not in host.run("ip route show table all").stdout
    blue.run("down", "blue")
    for founder in (first, second):
        founder.down()


def test_same_addresses_in_both_are_told(lab: Lab) -> None:
    """A host cannot tell them apart, so its status says so."""
    site = Site(lab)
    (first, red), (second, blue) = _two(site, ("10.77.0.0/16", "10.77.0.0/16"))
    wait_until(
        lambda: any("10.77.0.0/16" in text for text in blue.status()["health"]),
        f"blue tells of it: {blue.status()['health']}",
    )
    assert blue.run("status", "--check", "ready", "blue", check=False).returncode == 1
    blue.run("down", "blue")
    red.pings(first)
    red.run("down", "red")
    for founder in (first, second):
        founder.down()
