"""Scenarios that any two WireGuard implementations must master together.

Most follow a step of `netns.sh`, the kernel's own WireGuard test; the step numbers are
those of its order: accounting, traffic, roaming, crypto-routing, key change, NAT.
The left device begins the handshakes unless a scenario says otherwise.
"""

import os
import time
from dataclasses import dataclass

import pytest

from topology.hosts import Host, Lab, Port
from topology.processes import CommandFailed
from topology.traffic import await_listener, run, send_file, start
from topology.tunnels import LISTEN_PORT, Keys, UserspaceWireGuard, WireGuardDevice

LEFT_V4, RIGHT_V4 = "192.168.241.1", "192.168.241.2"
LEFT_V6, RIGHT_V6 = "fd00::1", "fd00::2"
NO_PEER = "(none)"

Implementations = tuple[UserspaceWireGuard, UserspaceWireGuard]


@dataclass(slots=True)
class Pair:
    """Two WireGuard devices that know each other; no packet has been sent yet."""

    left: WireGuardDevice
    right: WireGuardDevice
    left_port: Port
    right_port: Port


def pair(
    lab: Lab,
    implementations: Implementations,
    *,
    ports: tuple[Port, Port] | None = None,
    outer: int = 4,
    preshared: tuple[str, str] = ("", ""),
) -> Pair:
    """Start a device on each of two linked hosts and make them peers.

    *outer* is the IP version below; *preshared* is what each side believes the
    pre-shared key to be, empty for none. Only the left one knows an endpoint.
    """
    left_port, right_port = ports or lab.connect(lab.host("left"), lab.host("right"))
    left = implementations[0].start(left_port.host)
    right = implementations[1].start(right_port.host)
    far = right_port.v4 if outer == 4 else f"[{right_port.v6}]"
    left.set(
        f"peer {right.public_key} allowed-ips {RIGHT_V4}/32,{RIGHT_V6}/128 "
        f"endpoint {far}:{LISTEN_PORT}"
    )
    right.set(f"peer {left.public_key} allowed-ips {LEFT_V4}/32,{LEFT_V6}/128")
    for device, peer, key in ((left, right, preshared[0]), (right, left, preshared[1])):
        if key:
            device.set(f"peer {peer.public_key} preshared-key @", secret=key)
    left.bring_up(f"{LEFT_V4}/24", f"{LEFT_V6}/64")
    right.bring_up(f"{RIGHT_V4}/24", f"{RIGHT_V6}/64")
    return Pair(left, right, left_port, right_port)


def preshared_key() -> str:
    """Make a pre-shared key."""
    return Keys.generate().private


def answers(host: Host, address: str, *, within: int = 3) -> bool:
    """Say whether one ping from *host* is answered within that many seconds."""
    result = host.run(f"ping -c 1 -W {within} {address}", check=False)
    return result.returncode == 0


def assert_pings(host: Host, address: str) -> None:
    """Ping once; the answer must come though a handshake may be needed first."""
    assert answers(host, address, within=6), f"{host.name} does not reach {address}"


def exact_bytes(two: Pair) -> None:
    """Netns.sh step 2: ten pings cost exactly a handshake and ten padded packets.

    An initiation is 148 bytes and a response 92; an 84-byte echo is padded to 96 and
    wrapped in 32. The initiator may send one keepalive of 32 to confirm the session.
    """
    two.left.inside.run(f"ping -c 10 -f -W 4 {RIGHT_V4}")
    begun = two.left.transfer(two.right.public_key)
    answered = two.right.transfer(two.left.public_key)
    assert begun.received == 92 + 10 * 128 == 1372
    assert begun.sent in (148 + 10 * 128, 148 + 10 * 128 + 32)
    assert (answered.sent, answered.received) == (begun.received, begun.sent)
    for device, peer in ((two.left, two.right), (two.right, two.left)):
        assert device.handshake_at(peer.public_key) > 0


def traffic(two: Pair) -> None:
    """Netns.sh step 3: pings and streams of both IP versions in both directions."""
    left, right = two.left.inside, two.right.inside
    for host, far in ((left, (RIGHT_V4, RIGHT_V6)), (right, (LEFT_V4, LEFT_V6))):
        for address in far:
            host.run(f"ping -c 10 -f -W 4 {address}")
    move_bytes(left, right, RIGHT_V4)
    move_bytes(right, left, LEFT_V6)


def move_bytes(sender: Host, receiver: Host, address: str) -> None:
    """Send 4 MiB over TCP to *address* and check that the same ones arrive."""
    file = sender.lab.directory / f"sent-by-{sender.name}"
    file.write_bytes(os.urandom(4 << 20))
    send_file(file, sender, receiver, address)


def roaming(two: Pair) -> None:
    """Netns.sh step 5: a new address, port and IP version are followed at once."""
    left, port = two.left, two.left_port
    far = two.right_port
    assert_pings(left.inside, RIGHT_V4)
    left.host.ip(f"address del {port.v4}/24 dev {port.interface}")
    moved = port.v4.removesuffix(".1") + ".77"
    left.host.add_address(port.interface, f"{moved}/24")
    left.set("listen-port 9999")
    assert_pings(left.inside, RIGHT_V4)
    assert two.right.endpoint(left.public_key) == f"{moved}:9999"
    left.set("listen-port 9998")
    left.set(f"peer {two.right.public_key} endpoint [{far.v6}]:{LISTEN_PORT}")
    assert_pings(left.inside, RIGHT_V4)
    assert two.right.endpoint(left.public_key) == f"[{port.v6}]:9998"
    # Back to the one who moved: its new endpoint is in use.
    assert_pings(two.right.inside, LEFT_V6)
    # One session survived it all.
    assert left.transfer(two.right.public_key).received < 92 * 2 + 10 * 128


def sticky_source(two: Pair, outer: int, *, survives_loss: bool) -> None:
    """Netns.sh step 11: answers leave from where they were asked, while it is there.

    *survives_loss* says that the left one loses no packet when its source address
    goes; wireguard-go does.
    """
    left, right = two.left, two.right
    near, far = two.left_port, two.right_port
    size = 24 if outer == 4 else 64

    def neighbour(address: str, number: int) -> str:
        return address[:-1] + str(number)

    def endpoint(address: str) -> str:
        host = address if outer == 4 else f"[{address}]"
        return f"{host}:{LISTEN_PORT}"

    old = near.v4 if outer == 4 else near.v6
    spoken_to = neighbour(far.v4 if outer == 4 else far.v6, 99)
    right.host.add_address(far.interface, f"{spoken_to}/{size}")
    left.set(f"peer {right.public_key} endpoint {endpoint(spoken_to)}")
    assert_pings(left.inside, RIGHT_V4)
    # Had the answer come from the other address, the left one would have followed.
    assert left.endpoint(right.public_key) == endpoint(spoken_to)
    if not survives_loss:
        return
    left.host.ip(f"address del {old}/{size} dev {near.interface}")
    new = neighbour(old, 88)
    left.host.add_address(near.interface, f"{new}/{size}")
    assert_pings(left.inside, RIGHT_V4)
    assert right.endpoint(left.public_key) == endpoint(new)


def crypto_routing(two: Pair) -> None:
    """Netns.sh step 6: who may use a source address decides, yet the sender roams."""
    left, right = two.left, two.right
    left.set(f"peer {right.public_key} allowed-ips 192.168.241.0/24")
    assert_pings(right_knows_left(two).inside, LEFT_V4)
    assert _datagram_arrives(two)
    thief = Keys.generate().public
    left.set(f"peer {thief} allowed-ips {RIGHT_V4}/32")
    right.set("listen-port 9997")
    assert not _datagram_arrives(two)
    left.set(f"peer {thief} remove")
    assert left.endpoint(right.public_key) == f"{two.right_port.v4}:9997"
    # Removing the thief does not give the address back by itself: the /24 covers it.
    assert _datagram_arrives(two)


def right_knows_left(two: Pair) -> WireGuardDevice:
    """Tell the right device the left one's endpoint, and return it."""
    endpoint = f"{two.left_port.v4}:{LISTEN_PORT}"
    two.right.set(f"peer {two.left.public_key} endpoint {endpoint}")
    return two.right


def _datagram_arrives(two: Pair) -> bool:
    listener = start(two.left.inside, "datagram", LEFT_V4)
    await_listener(two.left.inside)
    run(two.right.inside, "throw", LEFT_V4, RIGHT_V4)
    return listener.wait() == 0


def key_change(two: Pair) -> None:
    """Netns.sh step 7: a new private key takes effect at once, under traffic."""
    left, right = two.left, two.right
    assert_pings(left.inside, RIGHT_V4)
    old, new = left.keys, Keys.generate()
    flow = left.inside.start(f"ping -i 0.05 -c 60 -W 1 {RIGHT_V4}")
    right.set(f"peer {new.public} allowed-ips {LEFT_V4}/32,{LEFT_V6}/128")
    left.set_keys(new)
    right.set(f"peer {old.public} remove")
    assert_pings(left.inside, RIGHT_V4)
    assert flow.wait(15) == 0, flow.output
    assert right.handshake_at(new.public) > 0
    assert list(right.show("latest-handshakes")) == [new.public]


def preshared_mismatch(two: Pair) -> None:
    """Without agreement on the pre-shared key there is no session on either side."""
    assert not answers(two.left.inside, RIGHT_V4, within=2)
    for device, peer in ((two.left, two.right), (two.right, two.left)):
        assert device.handshake_at(peer.public_key) == 0
    # The scenario can fail: with the same key, the same pings pass.
    two.right.set(f"peer {two.left.public_key} preshared-key /dev/null")
    two.left.set(f"peer {two.right.public_key} preshared-key /dev/null")
    assert answers(two.left.inside, RIGHT_V4, within=8)


def behind_nat(lab: Lab, implementations: Implementations) -> None:
    """Netns.sh step 9: a keepalive each second holds a NAT mapping of two seconds."""
    inside, router, outside = lab.host("left"), lab.router("nat"), lab.host("right")
    left_port, router_inside = lab.connect(inside, router)
    router_outside, right_port = lab.connect(router, outside)
    inside.ip(f"route add default via {router_inside.v4}")
    lab.source_nat(router_outside)
    for key in ("udp_timeout", "udp_timeout_stream"):
        router.sysctl(f"net.netfilter.nf_conntrack_{key}", 2)
    two = pair(lab, implementations, ports=(left_port, right_port))
    two.left.set(f"peer {two.right.public_key} persistent-keepalive 1")
    assert_pings(inside, RIGHT_V4)
    assert_pings(outside, LEFT_V4)
    mapped = two.right.endpoint(two.left.public_key)
    assert mapped == f"{router_outside.v4}:{LISTEN_PORT}"
    time.sleep(3)
    assert_pings(outside, LEFT_V4)
    two.left.set(f"peer {two.right.public_key} persistent-keepalive 0")
    # The scenario can fail: without keepalives the mapping is gone after its 2 s.
    time.sleep(4)
    assert not answers(outside, LEFT_V4, within=1)


def moved_interfaces(lab: Lab, implementations: Implementations) -> None:
    """Netns.sh step 1: the sockets stay where a device was made when it moves."""
    ports = lab.connect(lab.host("left"), lab.host("right"))
    left, right = (
        implementation.start(port.host)
        for implementation, port in zip(implementations, ports, strict=True)
    )
    left.move(lab.host("inner1"))
    right.move(lab.host("inner2"))
    endpoint = f"{ports[1].v4}:{LISTEN_PORT}"
    left.set(
        f"peer {right.public_key} endpoint {endpoint} "
        f"allowed-ips {RIGHT_V4}/32,{RIGHT_V6}/128"
    )
    right.set(f"peer {left.public_key} allowed-ips {LEFT_V4}/32,{LEFT_V6}/128")
    left.bring_up(f"{LEFT_V4}/24", f"{LEFT_V6}/64")
    right.bring_up(f"{RIGHT_V4}/24", f"{RIGHT_V6}/64")
    traffic(Pair(left, right, *ports))


def configuration_sizes(device: WireGuardDevice) -> None:
    """Netns.sh step 12: many peers and prefixes pass through `wg` unharmed."""
    key = Keys.generate().public
    pairs = [(a, b) for a in range(1, 256) for b in range(256)]
    many = [f"{a}.{b}.0.0/16" for a, b in pairs]
    many += [f"fd{a:02x}:{b + 1:x}::/32" for a, b in pairs]
    _configure_peers(device, {key: many})
    assert set(device.show("allowed-ips")[key].split()) == set(many)
    peers = {
        Keys.generate().public: [f"10.{number}.{low}.0/24" for low in range(52)]
        for number in range(40)
    }
    _configure_peers(device, peers)
    shown = {peer: text.split() for peer, text in device.show("allowed-ips").items()}
    assert {peer: sorted(found) for peer, found in shown.items()} == {
        peer: sorted(prefixes) for peer, prefixes in peers.items()
    }
    wide = [f"fd00:{number:x}::/32" for number in range(1, 198)]
    _configure_peers(device, {key: wide})
    assert set(device.show("allowed-ips")[key].split()) == set(wide)


def _configure_peers(device: WireGuardDevice, peers: dict[str, list[str]]) -> None:
    text = "".join(
        f"[Peer]\nPublicKey = {key}\nAllowedIPs = {', '.join(prefixes)}\n"
        for key, prefixes in peers.items()
    )
    device.set_config(f"[Interface]\nPrivateKey = {device.keys.private}\n{text}")


def configuration_semantics(device: WireGuardDevice) -> None:
    """Netns.sh step 13: what `wg set` means beside setting a value."""
    peer, other = Keys.generate(), Keys.generate()
    with pytest.raises(CommandFailed):
        device.host.run(["wg", "show", f"{device.interface}x"])
    secret = preshared_key()
    device.set(f"peer {peer.public} preshared-key @", secret=secret)
    assert device.show("preshared-keys") == {peer.public: secret}
    device.set(f"peer {peer.public} preshared-key /dev/null")
    assert device.show("preshared-keys") == {peer.public: NO_PEER}
    # Our own key as a peer is ignored; becoming a peer removes that peer.
    device.set(f"peer {device.public_key}")
    assert list(device.show("allowed-ips")) == [peer.public]
    device.set_keys(peer)
    assert device.show("allowed-ips") == {}
    # A prefix has one owner; the last one wins, host bits do not count.
    device.set(f"peer {peer.public} allowed-ips 10.1.2.3/8")
    assert device.show("allowed-ips") == {}
    device.set(f"peer {other.public} allowed-ips 10.1.2.3/8,fd00::5/16")
    assert device.show("allowed-ips")[other.public].split() == [
        "10.0.0.0/8",
        "fd00::/16",
    ]
    third = Keys.generate().public
    device.set(f"peer {third} allowed-ips 10.0.0.0/8")
    assert device.show("allowed-ips") == {
        other.public: "fd00::/16",
        third: "10.0.0.0/8",
    }
    device.set("private-key /dev/null")
    shown = device.host.run(["wg", "show", device.interface, "private-key"]).stdout
    assert shown.strip() == NO_PEER


LOW_ORDER_KEYS = (
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    "4Ot6fDtBuK4WVuP68Z/EatoJjeucMrH9hmIFFl9JuAA=",
    "X5yVvKNQjCSx0LFVnIPvWwREXMRYHI6G2CJO3dCfEVc=",
    "7P///////////////////////////////////////38=",
    "7f///////////////////////////////////////38=",
    "7v///////////////////////////////////////38=",
)
"""All points of X25519 that lead to an all-zero shared secret, in base64."""


def low_order_keys(lab: Lab, implementation: UserspaceWireGuard) -> None:
    """Netns.sh step 14: low-order public keys may be peers but get no packet."""
    port, far = lab.connect(lab.host("left"), lab.host("right"))
    device = implementation.start(port.host)
    watch = start(far.host, "silence", far.v4, str(LISTEN_PORT), "2")
    await_listener(far.host, LISTEN_PORT)
    for number, key in enumerate(LOW_ORDER_KEYS):
        device.set(
            f"peer {key} endpoint {far.v4}:{LISTEN_PORT} persistent-keepalive 1 "
            f"allowed-ips 10.7.{number}.0/24"
        )
    device.bring_up("10.6.0.1/24")
    device.inside.ip(f"route add 10.7.0.0/16 dev {device.interface}")
    for number in range(len(LOW_ORDER_KEYS)):
        device.inside.run(f"ping -c 1 -W 0.1 10.7.{number}.1", check=False)
    assert watch.wait(10) == 0, watch.output
    assert len(device.show("allowed-ips")) == len(LOW_ORDER_KEYS)
    # The scenario can fail: a sound key gets its initiation.
    watch = start(far.host, "silence", far.v4, str(LISTEN_PORT), "2")
    await_listener(far.host, LISTEN_PORT)
    sound = Keys.generate().public
    device.set(f"peer {sound} endpoint {far.v4}:{LISTEN_PORT} persistent-keepalive 1")
    assert watch.wait(10) == 1, watch.output


def rekeying(pairs: list[Pair], *, seconds: int) -> None:
    """A session under traffic is replaced after 120 s without losing a packet.

    Both directions have their own pair; they run at the same time.
    """
    first = {}
    flows = []
    for two in pairs:
        assert_pings(two.left.inside, RIGHT_V4)
        first[id(two)] = two.left.handshake_at(two.right.public_key)
        count = seconds * 10
        flows.append(two.left.inside.start(f"ping -q -i 0.1 -c {count} {RIGHT_V4}"))
    for two, flow in zip(pairs, flows, strict=True):
        flow.wait(seconds + 30)
        assert ", 0% packet loss" in flow.output, flow.output
        age = two.left.handshake_at(two.right.public_key) - first[id(two)]
        # Not before REKEY_AFTER_TIME (120 s); whole seconds, hence 119.
        assert 119 <= age <= seconds, f"new handshake {age} s after the first"
