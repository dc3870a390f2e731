"""Two nodes carry packets, and follow what happens to their interfaces."""

import pytest

from tests.interop.scenarios import (
    LEFT_V4,
    LEFT_V6,
    RIGHT_V4,
    RIGHT_V6,
    Pair,
    answers,
)
from topology.hosts import Host, Lab, wait_until
from topology.tunnels import LISTEN_PORT, WireGuardDevice, meshnode

pytestmark = pytest.mark.root


def await_answer(host: Host, address: str) -> None:
    """Ping until an answer comes: what was under way during a change may be lost."""
    wait_until(lambda: answers(host, address, within=1), f"{address} answers")


def test_packets_of_both_versions_pass_both_ways(two_nodes: Pair) -> None:
    """The first packet makes the session and is not lost."""
    for address in (RIGHT_V4, RIGHT_V6):
        assert answers(two_nodes.left.inside, address, within=5)
    for address in (LEFT_V4, LEFT_V6):
        assert answers(two_nodes.right.inside, address, within=5)


def test_setconf_is_enough(lab: Lab) -> None:
    """`wg setconf` configures everything in one request, as wg-quick uses it."""
    left_port, right_port = lab.connect(lab.host("a"), lab.host("b"))
    left, right = meshnode().start(left_port.host), meshnode().start(right_port.host)
    for number, (device, peer, far) in enumerate(
        [(left, right, right_port), (right, left, left_port)], start=1
    ):
        device.set_config(
            f"[Interface]\nPrivateKey = {device.keys.private}\n"
            f"ListenPort = {LISTEN_PORT}\n"
            f"[Peer]\nPublicKey = {peer.public_key}\n"
            f"AllowedIPs = 10.9.0.{3 - number}/32\nEndpoint = {far.v4}:{LISTEN_PORT}\n"
        )
        device.bring_up(f"10.9.0.{number}/24")
    assert answers(left.inside, "10.9.0.2", within=5)


def test_a_moved_interface_works_and_its_sockets_stay(
    lab: Lab, two_nodes: Pair
) -> None:
    """The interface goes to a host without a link; packets still find their way."""
    left = two_nodes.left
    assert answers(left.inside, RIGHT_V4, within=5)
    island = lab.host("island")
    left.move(island)
    left.bring_up(f"{LEFT_V4}/24", f"{LEFT_V6}/64")
    await_answer(island, RIGHT_V4)
    await_answer(two_nodes.right.inside, LEFT_V6)
    assert f":{LISTEN_PORT}" in left.host.run("ss -uln").stdout
    assert f":{LISTEN_PORT}" not in island.run("ss -uln").stdout
    # Up and down are followed there too.
    island.ip(f"link set {left.interface} down")
    wait_until(lambda: handshake_is_refused(two_nodes), "the other side is not heard")
    island.ip(f"link set {left.interface} up")
    await_answer(island, RIGHT_V4)


def handshake_is_refused(two: Pair) -> bool:
    """Say whether the right side gets no answer from the left."""
    return not answers(two.right.inside, LEFT_V4, within=1)


def test_down_and_up_makes_a_new_session(two_nodes: Pair) -> None:
    """Going down forgets all keys; coming up begins anew."""
    left = two_nodes.left
    assert answers(left.inside, RIGHT_V4, within=5)
    left.inside.ip(f"link set {left.interface} down")
    left.bring_up()
    left.inside.add_address(left.interface, f"{LEFT_V6}/64")
    await_answer(left.inside, RIGHT_V4)


def test_a_live_change_of_port_is_followed(two_nodes: Pair) -> None:
    """All processes speak by the new port at once; the peer roams after it."""
    left, right = two_nodes.left, two_nodes.right
    assert answers(left.inside, RIGHT_V4, within=5)
    left.set("listen-port 12345")
    await_answer(left.inside, RIGHT_V4)
    assert right.endpoint(left.public_key) == f"{two_nodes.left_port.v4}:12345"
    assert "12345" in left.host.run("ss -uln").stdout
    assert f":{LISTEN_PORT}" not in left.host.run("ss -uln").stdout
    left.set("listen-port 0")
    assert port_of(left) not in (0, 12345)
    await_answer(left.inside, RIGHT_V4)


def port_of(device: WireGuardDevice) -> int:
    """Return the port the device listens at."""
    return int(
        device.host.run(f"wg show {device.interface} listen-port").stdout.strip()
    )


def test_a_port_outlives_every_process_but_the_supervisor(two_nodes: Pair) -> None:
    """A restarted process gets the sockets of the changed port, not the first."""
    from tests.e2e.test_wg_restarts import kill

    left = two_nodes.left
    left.set("listen-port 12345")
    for role in ("control", "egress", "ingress"):
        kill(left, role)
    assert port_of(left) == 12345
    await_answer(left.inside, RIGHT_V4)


def test_large_packets_pass_a_smaller_underlay(two_nodes: Pair) -> None:
    """Datagrams that do not fit the underlay are fragmented, not lost."""
    for port in (two_nodes.left_port, two_nodes.right_port):
        port.host.ip(f"link set {port.interface} mtu 1300")
    await_answer(two_nodes.left.inside, RIGHT_V4)
    two_nodes.left.inside.run(f"ping -c 2 -i 0.2 -W 2 -s 1392 {RIGHT_V4}")
