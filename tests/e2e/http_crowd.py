"""Many clients of an HTTP proxy: `crowd|stalled COUNT PROXY_PORT URL`.

`crowd` clients ask twice on one connection each, while all are connected, and
the good answers are counted. `stalled` ones read nothing of an endless answer, and
send as much as is taken to a server that reads nothing, for three seconds.
"""

import resource
import socket
import sys
import time
from contextlib import suppress

import trio

TURNS = 2
PIECE = 65_536
STALLED_FOR = 3.0


async def crowd(count: int, port: int, url: str) -> None:
    """Print how many answers were good."""
    request = f"GET {url} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    good, here = 0, 0
    all_are_here = trio.Event()

    async def client() -> None:
        nonlocal good, here
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            for turn in range(TURNS):
                await stream.send_all(request)
                data = b""
                while b"</html>" not in data:
                    piece = await stream.receive_some(PIECE)
                    assert piece, data
                    data += piece
                good += data.startswith(b"HTTP/1.1 200 ")
                here += turn == 0
                if here == count:
                    all_are_here.set()
                await all_are_here.wait()

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(client)
    print(good)


def stalled(count: int, port: int, url: str) -> None:
    """Hold *count* connections of each kind open, as full as they get."""
    senders, readers = [], []
    for kinds, line in ((readers, "GET"), (senders, "PUT")):
        head = f"{line} {url} HTTP/1.1\r\nHost: x\r\n"
        head += "\r\n" if line == "GET" else "Content-Length: 999999999\r\n\r\n"
        for _ in range(count):
            one = socket.create_connection(("127.0.0.1", port))
            one.sendall(head.encode())
            one.setblocking(False)
            kinds.append(one)
    end = time.monotonic() + STALLED_FOR
    while time.monotonic() < end:
        for one in senders:
            with suppress(BlockingIOError):
                one.send(bytes(PIECE))
        time.sleep(0.001)
    print("held")


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    kind, many, place, where = sys.argv[1:]
    if kind == "crowd":
        trio.run(crowd, int(many), int(place), where)
    else:
        stalled(int(many), int(place), where)
