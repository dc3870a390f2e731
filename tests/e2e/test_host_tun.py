"""TUN devices and their watch, for real, in network namespaces without names."""

import errno
import os
import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest
from pyroute2 import IPRoute

from meshnode.errors import HostError
from meshnode.host.linkwatch import LinkGone, LinkWatch
from meshnode.host.namespaces import create_namespace, run_inside
from meshnode.host.rtnetlink import LinkState
from meshnode.host.tun import (
    Offload,
    TunDevice,
    create_tun,
    device_name,
    device_namespace,
    open_inlet,
)
from tests.inner_packets import udp_packet

pytestmark = pytest.mark.root

NAME = "mntest0"
WAIT_MS = 5000


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """No descriptor and no interface may be left by a test."""
    fds, interfaces = set(os.listdir("/proc/self/fd")), socket.if_nameindex()
    yield
    assert set(os.listdir("/proc/self/fd")) == fds
    assert socket.if_nameindex() == interfaces


@pytest.fixture
def namespaces(nothing_left: None) -> Iterator[list[int]]:
    """Three namespaces; a test may close one early by taking it out."""
    opened = [create_namespace() for _ in range(3)]
    yield opened
    for namespace in opened:
        os.close(namespace)


@pytest.fixture
def device(namespaces: list[int]) -> Iterator[TunDevice]:
    """A TUN device in the first namespace."""
    made = run_inside(namespaces[0], lambda: create_tun(NAME))
    yield made
    made.close()


@pytest.fixture
def watch(namespaces: list[int], device: TunDevice) -> Iterator[LinkWatch]:
    """A watch of the device by a process that lives in the first namespace."""
    made = run_inside(namespaces[0], lambda: LinkWatch(device.fds[0]))
    yield made
    made.close()


def change(namespace: int, **fields: object) -> None:
    """Change a link in *namespace*, as an administrator would."""

    def body() -> None:
        with IPRoute() as netlink:
            netlink.link("set", **fields)

    run_inside(namespace, body)


def delete(namespace: int, index: int) -> None:
    """Delete a link in *namespace*."""

    def body() -> None:
        with IPRoute() as netlink:
            netlink.link("del", index=index)

    run_inside(namespace, body)


def next_event(watch: LinkWatch) -> LinkState | LinkGone:
    """Wait until the watch reports something."""
    poll = select.poll()
    poll.register(watch.fileno(), select.POLLIN)
    while True:
        assert poll.poll(WAIT_MS), "the watch heard nothing"
        events = watch.events()
        if events:
            assert len(events) == 1
            return events[0]


def is_silent(watch: LinkWatch) -> bool:
    """Say whether nothing about the device is waiting."""
    return watch.events() == []


@pytest.mark.parametrize("queues", [1, 2])
def test_device_has_its_name_queues_and_offloads(
    namespaces: list[int], queues: int
) -> None:
    """The kernel shows a new TUN device, down, with a descriptor a queue."""
    made = run_inside(namespaces[0], lambda: create_tun(NAME, queues=queues))
    assert len(made.fds) == queues
    assert made.offload & (Offload.CSUM | Offload.TSO4 | Offload.TSO6)
    for fd in made.fds:
        assert device_name(fd) == NAME
        assert not os.get_inheritable(fd)
        with pytest.raises(BlockingIOError):
            os.read(fd, 2000)
    index = run_inside(namespaces[0], lambda: socket.if_nametoindex(NAME))
    assert index == made.index
    made.close()


def test_offloads_can_be_off(namespaces: list[int]) -> None:
    """Without offloads the frames still have their header."""
    made = run_inside(namespaces[0], lambda: create_tun(NAME, wanted=Offload.NONE))
    assert made.offload == Offload.NONE
    change(namespaces[0], index=made.index, state="up")
    packet = bytes.fromhex("45000014000000004000000000000000") + bytes(4)
    assert os.write(made.fds[0], bytes(10) + packet) == 30
    made.close()


def test_device_goes_with_its_last_descriptor(
    namespaces: list[int], device: TunDevice
) -> None:
    """A duplicate keeps the device; without any, it is gone."""
    made = run_inside(namespaces[1], lambda: create_tun(NAME))
    other = os.dup(made.fds[0])
    made.close()
    assert device_name(other) == NAME
    os.close(other)
    names = run_inside(namespaces[1], socket.if_nameindex)
    assert [name for _, name in names] == ["lo"]


@pytest.mark.parametrize("queues", [1, 2])
def test_taken_name_is_refused(
    namespaces: list[int], device: TunDevice, queues: int
) -> None:
    """Neither another TUN device nor the loopback is taken over."""
    before = set(os.listdir("/proc/self/fd"))
    for name in (NAME, "lo"):
        with pytest.raises(HostError, match="choose another name") as caught:
            run_inside(namespaces[0], lambda name=name: create_tun(name, queues=queues))
        assert caught.value.errno == errno.EBUSY
    assert set(os.listdir("/proc/self/fd")) == before


def test_second_node_cannot_join_a_device_of_many_queues(
    namespaces: list[int],
) -> None:
    """A device with several queues does not quietly get more of somebody else."""
    made = run_inside(namespaces[0], lambda: create_tun(NAME, queues=2))
    with pytest.raises(HostError, match="exists already"):
        run_inside(namespaces[0], lambda: create_tun(NAME, queues=2))
    made.close()


def test_inlet_delivers_and_leaves_the_queues_alone(namespaces: list[int]) -> None:
    """Answers that come in by it do not draw their flows to one queue."""
    made = run_inside(namespaces[0], lambda: create_tun(NAME, queues=2))
    inlet = run_inside(namespaces[0], lambda: open_inlet(made))

    def talk() -> None:
        with IPRoute() as netlink:
            netlink.addr("add", index=made.index, address="10.0.0.2", prefixlen=24)
            netlink.link("set", index=made.index, state="up")
        with ExitStack() as stack:
            ports = range(3000, 3032)
            flows = [
                stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                for _ in ports
            ]
            for port, flow in zip(ports, flows, strict=True):
                flow.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                flow.bind(("10.0.0.2", 2000))
                flow.connect(("10.0.0.1", port))
                flow.send(b"question")
            before = [ports_arrived(fd) for fd in made.fds]
            assert all(before)
            assert sorted(port for arrived in before for port in arrived) == [*ports]
            for port, flow in zip(ports, flows, strict=True):
                answer = udp_packet(4, b"answer", source_port=port)
                os.write(inlet, bytes(10) + answer)
                assert flow.recv(99) == b"answer"
                flow.send(b"question")
            assert [ports_arrived(fd) for fd in made.fds] == before
            assert ports_arrived(inlet) == []

    run_inside(namespaces[0], talk)
    os.close(inlet)
    made.close()


def ports_arrived(queue: int) -> list[int]:
    """Return where the UDP packets that wait in a queue want to go, sorted."""
    ports = []
    with suppress(BlockingIOError):
        while True:
            packet = os.read(queue, 2000)[10:]
            if packet[0] >> 4 == 4 and packet[9] == socket.IPPROTO_UDP:
                ports.append(int.from_bytes(packet[22:24], "big"))
    return sorted(ports)


def test_failure_halfway_leaves_nothing(
    namespaces: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the last step fails, the queues opened before are closed."""

    def refuse(name: str) -> int:
        raise OSError(errno.EMFILE, name)

    monkeypatch.setattr("meshnode.host.tun.socket.if_nametoindex", refuse)
    with pytest.raises(HostError, match="Too many open files"):
        run_inside(namespaces[0], lambda: create_tun(NAME, queues=2))
    monkeypatch.undo()
    names = run_inside(namespaces[0], socket.if_nameindex)
    assert [name for _, name in names] == ["lo"]


def test_watch_begins_with_the_state(watch: LinkWatch, device: TunDevice) -> None:
    """A new watch knows the device and has nothing to report."""
    assert watch.state == LinkState(device.index, NAME, 1500, up=False)
    assert is_silent(watch)


def test_changes_are_reported(
    namespaces: list[int], watch: LinkWatch, device: TunDevice
) -> None:
    """A new MTU, up, down and a new name are each seen."""
    here, index = namespaces[0], device.index
    change(here, index=index, mtu=1300)
    assert next_event(watch) == LinkState(index, NAME, 1300, up=False)
    change(here, index=index, state="up")
    assert next_event(watch) == LinkState(index, NAME, 1300, up=True)
    change(here, index=index, state="down")
    assert next_event(watch) == LinkState(index, NAME, 1300, up=False)
    change(here, index=index, ifname="renamed")
    assert next_event(watch) == LinkState(index, "renamed", 1300, up=False)


def test_changes_in_a_row_are_one_event(
    namespaces: list[int], watch: LinkWatch, device: TunDevice
) -> None:
    """Only the latest state counts, and it is reported once."""
    for mtu in range(1280, 1300):
        change(namespaces[0], index=device.index, mtu=mtu)
    assert next_event(watch) == LinkState(device.index, NAME, 1299, up=False)
    assert is_silent(watch)


def test_other_links_are_not_reported(namespaces: list[int], watch: LinkWatch) -> None:
    """What happens to the loopback is none of our business."""
    change(namespaces[0], index=1, state="up")
    assert is_silent(watch)


def test_device_is_followed_through_namespaces(
    namespaces: list[int], watch: LinkWatch, device: TunDevice
) -> None:
    """It is moved, changed there, moved on, changed, and comes back."""
    first, second, third = namespaces
    index, descriptor = device.index, watch.fileno()
    change(first, index=index, state="up")
    assert next_event(watch) == LinkState(index, NAME, 1500, up=True)
    change(first, index=index, net_ns_fd=second)
    assert next_event(watch) == LinkState(index, NAME, 1500, up=False)
    change(second, index=index, mtu=1400)
    assert next_event(watch) == LinkState(index, NAME, 1400, up=False)
    change(second, index=index, state="up")
    assert next_event(watch) == LinkState(index, NAME, 1400, up=True)
    change(second, index=index, net_ns_fd=third)
    assert next_event(watch) == LinkState(index, NAME, 1400, up=False)
    change(third, index=index, ifname="third")
    assert next_event(watch) == LinkState(index, "third", 1400, up=False)
    change(third, index=index, net_ns_fd=first)
    assert is_silent(watch)
    change(first, index=index, mtu=1280)
    assert next_event(watch) == LinkState(index, "third", 1280, up=False)
    assert watch.fileno() == descriptor


def test_changes_made_before_we_looked_are_not_missed(
    namespaces: list[int], watch: LinkWatch, device: TunDevice
) -> None:
    """Move, change and move again without a look in between: the end counts."""
    first, second, third = namespaces
    change(first, index=device.index, net_ns_fd=second)
    change(second, index=device.index, mtu=1401)
    change(second, index=device.index, net_ns_fd=third)
    change(third, index=device.index, mtu=1402, state="up")
    assert next_event(watch) == LinkState(device.index, NAME, 1402, up=True)
    change(third, index=device.index, mtu=1403)
    assert next_event(watch) == LinkState(device.index, NAME, 1403, up=True)


def test_index_may_change_on_the_way(namespaces: list[int]) -> None:
    """Where the index is taken, the device gets another and is still followed."""
    first, second, _ = namespaces
    holder = run_inside(second, lambda: create_tun("holder"))
    made = run_inside(first, lambda: create_tun(NAME))
    assert holder.index == made.index
    watch = run_inside(first, lambda: LinkWatch(made.fds[0]))
    change(first, index=made.index, net_ns_fd=second)
    moved = next_event(watch)
    assert isinstance(moved, LinkState)
    assert moved.index != made.index
    change(second, index=made.index, mtu=1333)  # the other device's
    assert is_silent(watch)
    change(second, index=moved.index, mtu=1334)
    assert next_event(watch) == LinkState(moved.index, NAME, 1334, up=False)
    for opened in (watch, made, holder):
        opened.close()


def test_watch_may_begin_with_a_device_elsewhere(
    namespaces: list[int], device: TunDevice
) -> None:
    """A process that restarts finds the device where it is."""
    change(namespaces[0], index=device.index, net_ns_fd=namespaces[1])
    watch = run_inside(namespaces[0], lambda: LinkWatch(device.fds[0]))
    assert watch.state.name == NAME
    change(namespaces[1], index=device.index, mtu=1444)
    assert next_event(watch) == LinkState(device.index, NAME, 1444, up=False)
    watch.close()


@pytest.mark.parametrize("moved", [False, True])
def test_deletion_is_reported_once(
    namespaces: list[int], watch: LinkWatch, device: TunDevice, moved: bool
) -> None:
    """A deleted device is gone for good, at home and elsewhere."""
    place = namespaces[0]
    if moved:
        change(place, index=device.index, net_ns_fd=namespaces[1])
        place = namespaces[1]
        assert is_silent(watch)
    delete(place, device.index)
    assert next_event(watch) == LinkGone()
    assert is_silent(watch)
    with pytest.raises(HostError) as caught:
        device_namespace(device.fds[0])
    assert caught.value.errno == errno.ENODEV
    with pytest.raises(HostError) as caught:
        run_inside(namespaces[0], lambda: LinkWatch(device.fds[0]))
    assert caught.value.errno == errno.ENODEV


def test_watch_does_not_keep_a_namespace_alive(
    namespaces: list[int], watch: LinkWatch, device: TunDevice
) -> None:
    """When the container that got the device ends, the device ends with it."""
    change(namespaces[0], index=device.index, net_ns_fd=namespaces[2])
    assert is_silent(watch)
    change(namespaces[2], index=device.index, mtu=1399)
    assert next_event(watch) == LinkState(device.index, NAME, 1399, up=False)
    os.close(namespaces.pop())
    assert next_event(watch) == LinkGone()


def test_lost_notifications_make_it_look_again(
    namespaces: list[int], device: TunDevice
) -> None:
    """What was lost behind notifications about others is found by looking."""
    watch = run_inside(namespaces[0], lambda: LinkWatch(device.fds[0]))
    watch._events.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)

    def storm() -> None:
        with IPRoute() as netlink:
            for mtu in range(1300, 1320):
                netlink.link("set", index=1, mtu=mtu)
            netlink.link("set", index=device.index, mtu=1280)

    run_inside(namespaces[0], storm)
    assert next_event(watch) == LinkState(device.index, NAME, 1280, up=False)
    watch.close()


def test_failed_look_is_made_up_for(
    namespaces: list[int],
    watch: LinkWatch,
    device: TunDevice,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A change that could not be looked at is reported by the next call."""

    def refuse(fd: int) -> int:
        raise HostError("no descriptor left", errno=errno.EMFILE)

    change(namespaces[0], index=device.index, mtu=1300)
    monkeypatch.setattr("meshnode.host.linkwatch.device_namespace", refuse)
    with pytest.raises(HostError, match="no descriptor left"):
        watch.events()
    monkeypatch.undo()
    assert watch.events() == [LinkState(device.index, NAME, 1300, up=False)]
