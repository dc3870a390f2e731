"""The endpoints behind TLS: offered first, told to nobody, left for UDP."""

import random
from typing import Any

import pytest

from meshnode.channels import endpoint_of
from meshnode.codec.messages import Ping
from meshnode.mesh.detours import Detours
from meshnode.types import Endpoint, Path

HOME = b"h" * 32
DETOUR = Endpoint("127.0.0.1", 40000)
OUTSIDE = (Endpoint("192.0.2.1", 51820), Endpoint("192.0.2.1", 4500))


class FakeTunnels:
    """Notes what is asked of it."""

    def __init__(self) -> None:
        self.is_up = False
        self.calls: list[tuple[Any, ...]] = []

    def has_session(self, key: bytes) -> bool:
        """Whether it was said so."""
        return self.is_up

    def path_of(self, key: bytes) -> Endpoint | None:
        """Where UDP reaches it."""
        return OUTSIDE[0]

    def set_path(self, key: bytes, path: Path | None, *, now: float) -> None:
        """Note it."""
        self.calls.append(("path", None if path is None else path.remote))

    def send(self, key: bytes, message: object, *, now: float) -> None:
        """Note it."""
        self.calls.append(("send", type(message)))

    def send_by(self, key: bytes, message: object, path: Path, *, now: float) -> None:
        """Note it."""
        self.calls.append(("send by", path.remote))


class FakeDialler:
    """Has candidates, and notes detours."""

    def __init__(self) -> None:
        self.detours: dict[bytes, Endpoint | None] = {}

    def candidates_of(self, key: bytes, *, now: float) -> tuple[Endpoint, ...]:
        """Two by UDP, a channel and a detour."""
        return (DETOUR, endpoint_of(7), *OUTSIDE)

    def set_detour(self, key: bytes, endpoint: Endpoint | None, *, now: float) -> None:
        """Note it."""
        self.detours[key] = endpoint


class Scene:
    """Detours of a node that asked its home and heard nothing."""

    def __init__(self, rng: random.Random) -> None:
        self.tunnels: Any = FakeTunnels()
        self.dialler: Any = FakeDialler()
        self.detours = Detours(
            homes=lambda: (HOME,),
            dialler=self.dialler,
            tunnels=self.tunnels,
            entropy=rng.randbytes,
        )
        self.detours.handshake_begun(HOME, now=0.0)
        self.detours.handle_deadline(now=2.0)


@pytest.fixture
def scene(rng: random.Random) -> Scene:
    """UDP is suspected."""
    return Scene(rng)


def test_addresses_to_dial_are_those_of_hosts(scene: Scene) -> None:
    """Each once, and no channel or detour among them."""
    assert scene.detours.wanted(now=2.0) == {HOME: ("192.0.2.1",)}


@pytest.mark.parametrize("is_up", [True, False])
def test_a_detour_is_used_at_once(scene: Scene, is_up: bool) -> None:
    """A session goes on there, or a handshake begins."""
    scene.tunnels.is_up = is_up
    scene.detours.set_detour(HOME, DETOUR, now=2.5)
    assert scene.dialler.detours == {HOME: DETOUR}
    if is_up:
        assert scene.tunnels.calls == [("path", DETOUR), ("send by", DETOUR)]
    else:
        assert scene.tunnels.calls == [("send", Ping)]


def test_only_addresses_of_others_speak_for_udp(scene: Scene) -> None:
    """What comes by TLS or over a relay says nothing of it."""
    scene.detours.set_detour(HOME, DETOUR, now=2.5)
    scene.detours.heard(DETOUR, now=3.0)
    scene.detours.heard(endpoint_of(7), now=3.0)
    assert scene.detours.watch.is_blocked
    scene.detours.session_started(HOME, now=3.0)
    assert not scene.detours.watch.is_blocked


def test_udp_is_tried_again(scene: Scene) -> None:
    """By a question to each of its places, inside the session."""
    scene.tunnels.is_up = True
    scene.detours.set_detour(HOME, DETOUR, now=2.5)
    scene.tunnels.calls.clear()
    deadline = scene.detours.next_deadline()
    assert deadline is not None
    scene.detours.handle_deadline(now=deadline.at)
    assert scene.tunnels.calls == [("send by", one) for one in OUTSIDE]


def test_a_lost_detour_is_taken_back(scene: Scene) -> None:
    """And its home left alone for a moment."""
    scene.detours.set_detour(HOME, DETOUR, now=2.5)
    scene.detours.set_detour(HOME, None, now=3.0)
    assert scene.dialler.detours == {HOME: None}
    assert scene.detours.wanted(now=3.0) == {}
