"""Many connections through a SOCKS5 proxy at once: PROXY TARGET NUMBER SLOW.

Each says a kilobyte to the echo server at TARGET and hears it again. Then the first
SLOW of them say more and more and hear nothing, until no more is taken for a second.
Then it says "full", and keeps all of them open. With one word, the place, it is the
echo server.
"""

import resource
import sys
from contextlib import suppress

import trio

from meshnode.codec.proxies import Credentials, Socks5
from meshnode.proxy.upstream import hear
from meshnode.types import Target

WORDS = bytes(range(256)) * 4
AT_ONCE = 50


def split(place: str) -> Target:
    """Read HOST:PORT."""
    host, _, port = place.rpartition(":")
    return Target(host, int(port))


async def connect(proxy: Target, target: Target) -> trio.SocketStream:
    """Return a connection to the target by way of the proxy, proven by a kilobyte."""
    stream = await trio.open_tcp_stream(proxy.host, proxy.port)
    dialogue = Socks5(target, Credentials())
    while not dialogue.is_open:
        await hear(stream, dialogue)
    await stream.send_all(WORDS)
    heard = b""
    while len(heard) < len(WORDS):
        heard += await stream.receive_some()
    assert heard == WORDS
    return stream


async def fill(stream: trio.SocketStream) -> None:
    """Say more and more, as long as it is taken."""
    is_taken = True
    while is_taken:
        is_taken = False
        with trio.move_on_after(1):
            await stream.send_all(bytes(65_536))
            is_taken = True


async def load(proxy: Target, target: Target, number: int, slow: int) -> None:
    """Open them, fill some, and keep them."""
    gate = trio.CapacityLimiter(AT_ONCE)
    streams: list[trio.SocketStream] = []

    async def open_one() -> None:
        async with gate:
            streams.append(await connect(proxy, target))

    async with trio.open_nursery() as nursery:
        for _ in range(number):
            nursery.start_soon(open_one)
    async with trio.open_nursery() as nursery:
        for stream in streams[:slow]:
            nursery.start_soon(fill, stream)
    sys.stdout.write("full\n")
    sys.stdout.flush()
    await trio.sleep_forever()


async def echo(place: Target) -> None:
    """Say back what is heard, for ever."""

    async def serve(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            async for data in stream:
                await stream.send_all(data)

    await trio.serve_tcp(serve, place.port, host=place.host, backlog=1024)


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if len(sys.argv) == 2:
        trio.run(echo, split(sys.argv[1]))
    else:
        proxy, target = split(sys.argv[1]), split(sys.argv[2])
        trio.run(load, proxy, target, int(sys.argv[3]), int(sys.argv[4]))
