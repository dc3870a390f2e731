"""Where steered traffic is handed in."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from meshnode.codec.steer_link import CloseDoor, OpenDoor
from meshnode.node.steer_doors import SteerDoors, Upstream
from meshnode.steering import ViaExit, ViaProxy
from meshnode.types import Target
from tests.unit.node.steer_parts import replace_sockets

PARIS, ROME = ViaExit("paris"), ViaExit("rome")
WEB = ViaProxy("http", "192.0.2.9", 3128)
UPSTREAM = Upstream("socks5", (Target("10.77.0.2", 1080),), "bob", "hidden")


class Scene:
    """Doors, and what was said to the process."""

    def __init__(self) -> None:
        self.said: list[tuple[Any, int]] = []
        self.doors = SteerDoors(self._say)

    def _say(self, message: Any, descriptors: Sequence[int]) -> None:
        self.said.append((message, len(descriptors)))


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    """No doors yet."""
    replace_sockets(monkeypatch)
    one = Scene()
    yield one
    one.doors.close()


def test_every_way_has_a_door_of_its_own(scene: Scene) -> None:
    """It stays the same, and an HTTP proxy's takes no datagrams."""
    paris, web = scene.doors.door(PARIS), scene.doors.door(WEB)
    assert scene.doors.door(PARIS) == paris
    assert (paris.number, web.number) == (1, 2)
    assert min(paris.tcp4, paris.udp4, web.tcp4) > 0
    assert (paris.tcp6, paris.udp6, web.udp4) == (0, 0, 0)
    assert paris.tcp4 != web.tcp4


def test_the_process_is_told_what_is_new(scene: Scene) -> None:
    """Sockets once, and where a door leads when that is another place."""
    scene.doors.door(PARIS)
    scene.doors.lead(PARIS, UPSTREAM)
    scene.doors.lead(PARIS, UPSTREAM)
    other = Upstream("socks5", (Target("10.77.0.3", 1080),))
    scene.doors.lead(PARIS, other)
    places, moved = UPSTREAM.places, other.places
    first = OpenDoor(1, "socks5", places, "bob", "hidden", ("tcp", "udp"))
    assert scene.said == [(first, 2), (OpenDoor(1, "socks5", moved, "", ""), 0)]
    scene.doors.forget_told()
    scene.doors.lead(PARIS, other)
    again = OpenDoor(1, "socks5", moved, "", "", ("tcp", "udp"))
    assert scene.said[2:] == [(again, 2)]
    assert "hidden" not in repr(UPSTREAM)


def test_doors_that_nothing_leads_to_are_closed(scene: Scene) -> None:
    """Their numbers are used again."""
    for via in (PARIS, ROME):
        scene.doors.door(via)
    scene.doors.lead(PARIS, UPSTREAM)
    scene.doors.keep_only([ROME])
    assert scene.said[1:] == [(CloseDoor(1), 0)]
    assert scene.doors.door(WEB).number == 1
    assert scene.doors.door(ROME).number == 2
