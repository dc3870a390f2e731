"""Proxies in order: which is asked, which has failed, what they say."""

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from meshnode.codec.proxies import Credentials, ProxyRefusal, Socks5
from meshnode.errors import CodecError
from meshnode.proxy.outlets import OutletError, Refusal
from meshnode.proxy.upstream import ANSWER_TIMEOUT, REACH_TIMEOUT, REST, Upstream
from meshnode.types import Endpoint, Target
from tests.unit.proxy.proxy_parts import FakeOutlet, Stream, read_all

ONE, TWO, THREE = (Target(f"192.0.2.{number}", 1080) for number in (1, 2, 3))
GOAL = Target("a.example", 443)
YES = b"\x05\0" + bytes.fromhex("05000001c000020103e8")
NO = b"\x05\0" + bytes.fromhex("05050001") + bytes(6)


class Roads(FakeOutlet):
    """Leads to proxies that say what is written here, or are silent, or not there."""

    def __init__(self, answers: dict[Target, bytes]) -> None:
        super().__init__()
        self.answers = answers
        self.ends: list[Stream] = []

    async def connect(self, target: Target) -> tuple[Stream, Endpoint]:
        """Connect; a proxy without an answer here is off, and takes its time."""
        self.asked.append(target)
        if target not in self.answers:
            await trio.sleep_forever()
        near, far = memory_stream_pair()
        self.ends.append(far)
        if answer := self.answers[target]:
            await far.send_all(answer)
        return near, Endpoint("192.0.2.9", 9)


def make() -> Socks5:
    """Return a dialogue."""
    return Socks5(GOAL, Credentials())


async def open_one(upstream: Upstream) -> Target:
    """Return which proxy it was in the end."""
    stream, _, place = await upstream.open(make, lambda dialogue: dialogue.is_open)
    await stream.aclose()
    return place


async def test_in_order(autojump_clock: MockClock) -> None:
    """The first that answers; one that did not is asked last for a minute."""
    roads = Roads({TWO: YES, THREE: YES})
    upstream = Upstream([ONE, TWO, THREE], roads)
    assert await open_one(upstream) == TWO
    assert trio.current_time() == pytest.approx(REACH_TIMEOUT, abs=1)
    assert await open_one(upstream) == TWO
    assert roads.asked == [ONE, TWO, TWO]
    await trio.sleep(REST + 1)
    roads.answers[ONE] = YES
    assert await open_one(upstream) == ONE


async def test_refusal_is_an_answer(autojump_clock: MockClock) -> None:
    """Another proxy would find the same host; nobody else is asked."""
    roads = Roads({ONE: NO, TWO: YES})
    upstream = Upstream([ONE, TWO], roads)
    for _ in range(2):
        with pytest.raises(ProxyRefusal):
            await open_one(upstream)
    assert roads.asked == [ONE, ONE]
    # And the connection with it is closed.
    assert (await read_all(roads.ends[0])).startswith(b"\x05\x01\x00")


@pytest.mark.parametrize(
    ("answer", "text"),
    [(b"\x05\xff", "192.0.2.1:1080: .*another way"), (b"HTTP/1.1 400", "no SOCKS5")],
)
async def test_what_is_no_proxy_for_us(
    answer: bytes, text: str, autojump_clock: MockClock
) -> None:
    """The next is asked; the last failure is told, with its place."""
    upstream = Upstream([TWO, ONE], Roads({ONE: answer}))
    with pytest.raises(OutletError, match=text) as caught:
        await open_one(upstream)
    assert caught.value.refusal is Refusal.FAILED


async def test_proxy_that_hangs(autojump_clock: MockClock) -> None:
    """It takes the connection, and says nothing."""
    upstream = Upstream([ONE], Roads({ONE: b""}))
    with pytest.raises(OutletError) as caught:
        await open_one(upstream)
    assert caught.value.refusal is Refusal.TIMED_OUT
    assert trio.current_time() == pytest.approx(ANSWER_TIMEOUT, abs=1)


async def test_proxy_that_goes_away(autojump_clock: MockClock) -> None:
    """In the middle of the talk."""
    roads = Roads({ONE: b"\x05"})
    upstream = Upstream([ONE], roads)
    async with trio.open_nursery() as nursery:

        async def leave() -> None:
            await trio.sleep(1)
            await roads.ends[0].aclose()

        nursery.start_soon(leave)
        with pytest.raises(OutletError, match="ended the connection"):
            await open_one(upstream)


async def test_what_cannot_be_said() -> None:
    """No proxy is bothered with it."""

    def refuse() -> Socks5:
        raise CodecError("too long")

    roads = Roads({ONE: YES})
    with pytest.raises(OutletError, match="too long"):
        await Upstream([ONE], roads).open(refuse, lambda dialogue: True)
    with pytest.raises(OutletError, match="no proxy"):
        await Upstream([], roads).open(make, lambda dialogue: True)
    assert roads.asked == []
