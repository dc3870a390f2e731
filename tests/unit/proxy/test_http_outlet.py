"""Through an HTTP proxy that says what is written here."""

import pytest
import trio

from meshnode.codec.proxies import Credentials
from meshnode.codec.socks import NOWHERE
from meshnode.proxy.http_outlet import ViaHttp
from meshnode.proxy.outlets import OutletError, Refusal
from meshnode.types import Target
from tests.unit.proxy.proxy_parts import listening, read, read_all

GOAL = Target("a.example", 22)


class Proxy:
    """Hears one request and answers."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.heard = b""

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection."""
        async with stream:
            while not self.heard.endswith(b"\r\n\r\n"):
                self.heard += await stream.receive_some()
            await stream.send_all(self.answer)
            await stream.send_eof()
            await read_all(stream)


async def test_connect() -> None:
    """The name goes as it is; what the target says first is not lost."""
    proxy = Proxy(b"HTTP/1.1 200 OK\r\nVia: x\r\n\r\nSSH-2.0-x")
    async with listening(proxy.serve) as place:
        outlet = ViaHttp([place], Credentials("carol", "s3:cret"))
        stream, ours = await outlet.connect(GOAL)
        async with stream:
            assert ours == NOWHERE
            assert await read(stream, 100) == b"SSH-2.0-x"
    assert proxy.heard.startswith(b"CONNECT a.example:22 HTTP/1.1\r\n")
    assert b"Basic Y2Fyb2w6czM6Y3JldA==" in proxy.heard


@pytest.mark.parametrize(
    ("status", "refusal"),
    [
        (403, Refusal.FORBIDDEN),
        (407, Refusal.FORBIDDEN),
        (502, Refusal.HOST_UNREACHABLE),
        (504, Refusal.TIMED_OUT),
        (418, Refusal.FAILED),
    ],
)
async def test_refusals(status: int, refusal: Refusal) -> None:
    """As far as a status says why."""
    proxy = Proxy(f"HTTP/1.1 {status} No\r\n\r\n".encode())
    async with listening(proxy.serve) as place:
        with pytest.raises(OutletError) as caught:
            await ViaHttp([place], Credentials()).connect(GOAL)
    assert caught.value.refusal is refusal


async def test_what_http_cannot() -> None:
    """No datagrams, no calls."""
    outlet = ViaHttp([GOAL], Credentials())
    for attempt in (outlet.open_datagrams(), outlet.listen(GOAL)):
        with pytest.raises(OutletError) as caught:
            await attempt
        assert caught.value.refusal is Refusal.UNSUPPORTED
