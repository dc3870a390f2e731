"""What the rules refuse goes nowhere."""

import pytest

from meshnode.proxy.outlets import OutletError, Refusal
from meshnode.proxy.ruled_outlet import RuledOutlet
from meshnode.types import Target
from tests.unit.proxy.fake_outlets import FakeOutlet

GOOD, BAD = Target("good", 1), Target("bad", 1)


async def test_only_what_is_permitted() -> None:
    """Connections, callers, and each datagram."""
    inner = FakeOutlet()
    outlet = RuledOutlet(inner, lambda target: target == GOOD)
    await outlet.connect(GOOD)
    with pytest.raises(OutletError) as other:
        await outlet.listen(GOOD)
    assert other.value.refusal is Refusal.UNSUPPORTED
    for ask in (outlet.connect, outlet.listen):
        with pytest.raises(OutletError) as refused:
            await ask(BAD)
        assert refused.value.refusal is Refusal.FORBIDDEN
    assert inner.asked == [GOOD, GOOD]
    with await outlet.open_datagrams() as place:
        await place.send(b"1", BAD)
        await place.send(b"2", GOOD)
        assert inner.places[0].sent == [(b"2", GOOD)]
        inner.places[0].arriving.send_nowait((b"3", GOOD))
        assert await place.receive() == (b"3", GOOD)
    assert inner.places[0].is_closed
