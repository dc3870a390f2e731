"""Members one way, the world another."""

import pytest
import trio

from meshnode.proxy.mesh_outlet import MeshFirst
from meshnode.proxy.outlets import OutletError, Refusal
from meshnode.types import Target
from tests.unit.proxy.fake_outlets import FakeOutlet

BERT, WORLD = Target("bert", 1), Target("example.org", 1)


class Scene:
    """Both ways, and the choice between them."""

    def __init__(self) -> None:
        self.mesh, self.beyond = FakeOutlet(), FakeOutlet()
        self.outlet = MeshFirst(self.mesh, self.beyond, lambda one: one == BERT)


@pytest.fixture
def scene() -> Scene:
    """Nothing was asked yet."""
    return Scene()


async def test_connections(scene: Scene) -> None:
    """Each goes its way, and a refusal is not tried the other way."""
    await scene.outlet.connect(BERT)
    await scene.outlet.connect(WORLD)
    assert (scene.mesh.asked, scene.beyond.asked) == ([BERT], [WORLD])
    for target, way in ((BERT, scene.mesh), (WORLD, scene.beyond)):
        way.refusal = Refusal.REFUSED
        with pytest.raises(OutletError):
            await scene.outlet.connect(target)
        with pytest.raises(OutletError):
            await scene.outlet.listen(target)
        assert way.asked == [target] * 3


async def test_datagrams(scene: Scene) -> None:
    """They go their ways, and come from both."""
    with await scene.outlet.open_datagrams() as place:
        [mesh], [beyond] = scene.mesh.places, scene.beyond.places
        await place.send(b"to bert", BERT)
        await place.send(b"to all", WORLD)
        assert mesh.sent == [(b"to bert", BERT)]
        assert beyond.sent == [(b"to all", WORLD)]
        for number in range(3):
            mesh.arriving.send_nowait((b"m%d" % number, BERT))
            beyond.arriving.send_nowait((b"b%d" % number, WORLD))
        received = sorted([(await place.receive())[0] for _ in range(6)])
        assert received == [b"b0", b"b1", b"b2", b"m0", b"m1", b"m2"]
        with trio.move_on_after(0.01) as waiting:
            await place.receive()
        assert waiting.cancelled_caught
        mesh.arriving.send_nowait((b"after a cancel", BERT))
        assert await place.receive() == (b"after a cancel", BERT)
        beyond.arriving.send_nowait(OutletError(Refusal.FAILED))
        with pytest.raises(OutletError):
            await place.receive()
    assert mesh.is_closed
    assert beyond.is_closed


async def test_half_a_place_is_none(scene: Scene) -> None:
    """What one side opened is closed if the other cannot."""
    scene.mesh.refusal = Refusal.BUSY
    with pytest.raises(OutletError):
        await scene.outlet.open_datagrams()
    assert scene.beyond.places[0].is_closed
