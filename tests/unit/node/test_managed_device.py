"""`get` and `set`: sockets first, and back again if the engine refuses."""

import errno
from collections.abc import Iterator
from typing import Any

import pytest

from meshnode.errors import ConfigError, HostError
from meshnode.host.udp import UdpPair
from meshnode.node.managed_device import ManagedDevice, MeshDevice
from meshnode.wireguard.config import DeviceChange, DeviceStatus
from tests.unit.node.test_outlet import unbound_pair


class Fakes:
    """Driver, outlet, lifeline and fleet in one; `story` is what was asked of them."""

    def __init__(self) -> None:
        self.story: list[Any] = []
        self.port, self.fwmark = 1000, 7
        self.refusal: Exception | None = None
        self.taken: set[int] = set()
        self.pair = unbound_pair()

    def status(self) -> DeviceStatus:
        """Be the driver."""
        return DeviceStatus(None, self.port, self.fwmark, [])

    def configure(self, change: DeviceChange) -> None:
        """Be the driver."""
        self.story.append("configure")
        if self.refusal is not None:
            raise self.refusal

    def adopt_port(self) -> None:
        """Be the driver."""
        self.story.append("adopt port")

    def mark(self, fwmark: int) -> None:
        """Be the outlet."""
        self.story.append(("mark", fwmark))

    def replace(self, pairs: tuple[UdpPair, ...]) -> None:
        """Be the outlet."""
        self.pair.close()
        (self.pair,) = pairs

    async def rebind(self, port: int, fwmark: int) -> tuple[UdpPair, ...]:
        """Be the lifeline."""
        self.story.append(("rebind", port, fwmark))
        if port in self.taken:
            raise HostError("taken", errno=98)
        pair = unbound_pair()
        return (UdpPair(port or 5555, pair.v4, None, False),)

    def use_sockets(self, pairs: tuple[UdpPair, ...]) -> None:
        """Be the fleet."""
        self.story.append(("sockets", pairs[0].port))


@pytest.fixture
def fakes() -> Iterator[Fakes]:
    """What a device stands on, bound to port 1000 and marked 7."""
    made = Fakes()
    made.pair = UdpPair(1000, made.pair.v4, None, False)
    yield made
    made.pair.close()


@pytest.fixture
def device(fakes: Any) -> ManagedDevice:
    """A device on fakes."""
    return ManagedDevice(fakes, fakes, fakes, fakes)


async def test_get_is_the_driver_s_status(device: ManagedDevice) -> None:
    """Nothing is asked of anybody else."""
    assert (await device.get()).listen_port == 1000


async def test_a_new_port_is_had_first(device: ManagedDevice, fakes: Fakes) -> None:
    """With the mark in force, and told to the workers, before the rest."""
    await device.set(DeviceChange(listen_port=2000))
    assert fakes.story == [("rebind", 2000, 7), ("sockets", 2000), "configure"]


async def test_the_same_port_again_is_no_change(
    device: ManagedDevice, fakes: Fakes
) -> None:
    """Sessions and sources stay as they are."""
    await device.set(DeviceChange(listen_port=1000, fwmark=7))
    assert fakes.story == ["configure"]


async def test_port_zero_is_a_random_one(device: ManagedDevice, fakes: Fakes) -> None:
    """As in the kernel, it asks for another port than the present one."""
    await device.set(DeviceChange(listen_port=0, fwmark=9))
    assert fakes.story == [("rebind", 0, 9), ("sockets", 5555), "configure"]


async def test_a_mark_alone_is_set_on_the_sockets(
    device: ManagedDevice, fakes: Fakes
) -> None:
    """Without new ones."""
    await device.set(DeviceChange(fwmark=8))
    assert fakes.story == [("mark", 8), "configure"]


async def test_a_taken_port_stops_everything(
    device: ManagedDevice, fakes: Fakes
) -> None:
    """The engine is not even asked, and the errno is that of the port."""
    fakes.taken = {2000}
    with pytest.raises(HostError) as refusal:
        await device.set(DeviceChange(listen_port=2000))
    assert refusal.value.errno == 98
    assert fakes.story == [("rebind", 2000, 7)]


@pytest.mark.parametrize(
    ("change", "restored"),
    [
        (DeviceChange(listen_port=2000), ("sockets", 1000)),
        (DeviceChange(fwmark=8), ("mark", 7)),
    ],
)
async def test_a_refusal_of_the_engine_takes_the_sockets_back(
    device: ManagedDevice, fakes: Fakes, change: DeviceChange, restored: object
) -> None:
    """All or nothing."""
    fakes.refusal = ConfigError("too many peers", errno=28)
    with pytest.raises(ConfigError):
        await device.set(change)
    assert fakes.story[-1] == restored


async def test_a_port_lost_meanwhile_is_said(
    device: ManagedDevice, fakes: Fakes
) -> None:
    """Then the device shows the port it really has."""
    fakes.refusal = ConfigError("too many peers", errno=28)
    fakes.taken = {1000}
    with pytest.raises(HostError, match="cannot be had again"):
        await device.set(DeviceChange(listen_port=2000))
    assert fakes.story[-1] == "adopt port"


async def test_device_of_a_mesh_is_only_shown() -> None:
    """Who is a peer there is the mesh's to say."""
    fakes = Fakes()
    driver: Any = fakes
    device = MeshDevice(driver)
    assert (await device.get()).listen_port == 1000
    with pytest.raises(ConfigError) as raised:
        await device.set(DeviceChange(listen_port=5))
    assert raised.value.errno == errno.EPERM
    assert fakes.story == []
    fakes.pair.close()
