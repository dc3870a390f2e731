"""Clients of a Unix socket: places, deadlines, and who may come."""

import errno
import os
import socket
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from meshnode.manage import unix_server
from meshnode.manage.unix_server import is_allowed, send_within, serve_clients


@pytest.fixture
async def listener(tmp_path: Path) -> Any:
    """A listening socket."""
    with trio.socket.socket(socket.AF_UNIX) as listener:
        await listener.bind(str(tmp_path / "s"))
        listener.listen(128)
        yield listener


async def connect(listener: Any) -> trio.SocketStream:
    """A connection to *listener*."""
    return await trio.open_unix_socket(listener.getsockname())


async def test_no_more_are_served_than_there_are_places(listener: Any) -> None:
    """Others wait, and are served when one has ended."""
    serving, most = 0, 0

    async def serve(client: Any) -> None:
        nonlocal serving, most
        serving += 1
        most = max(most, serving)
        while await client.recv(10):
            pass
        serving -= 1

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:

            async def serve_all() -> None:
                await serve_clients(listener, serve, most=2)

            nursery.start_soon(serve_all)
            clients = [await connect(listener) for _ in range(5)]
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert serving == 2
            for client in clients:
                await client.aclose()
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert (serving, most) == (0, 2)
            nursery.cancel_scope.cancel()


async def test_a_client_is_closed_whatever_ends_it(listener: Any) -> None:
    """Also an exception, which ends the server loudly."""

    async def serve(client: Any) -> None:
        raise ValueError("a fault")

    client = await connect(listener)
    with trio.fail_after(30):
        with pytest.raises(ExceptionGroup) as caught:
            await serve_clients(listener, serve, most=2)
        assert caught.group_contains(ValueError, match="a fault")
        assert await client.receive_some() == b""
    await client.aclose()


class FailingListener:
    """A listening socket whose first accepts fail."""

    def __init__(self, listener: Any, failures: list[int]) -> None:
        self._listener = listener
        self.failures = failures

    async def accept(self) -> Any:
        """Fail while there are failures left."""
        if self.failures:
            await trio.lowlevel.checkpoint()
            raise OSError(self.failures.pop(), "no")
        return await self._listener.accept()


async def test_accepting_is_tried_again_only_if_it_may_succeed(
    listener: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Want of descriptors passes; a socket that is none does not."""
    monkeypatch.setattr(unix_server, "_ACCEPT_PAUSE", 0.001)

    async def serve(client: Any) -> None:
        raise ValueError("served")

    numbers = [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ECONNABORTED]
    failing: Any = FailingListener(listener, numbers)
    client = await connect(listener)
    with trio.fail_after(30):
        with pytest.raises(ExceptionGroup) as caught:
            await serve_clients(failing, serve, most=1)
        assert caught.group_contains(ValueError, match="served")
        assert failing.failures == []
        failing.failures = [errno.EBADF]
        with pytest.raises(ExceptionGroup) as caught:
            await serve_clients(failing, serve, most=1)
        assert caught.group_contains(OSError)
    await client.aclose()


async def test_sending_has_its_time(listener: Any) -> None:
    """Who does not read keeps nobody for longer."""
    client = await connect(listener)
    server, _ = await listener.accept()
    with server:
        await send_within(server, [b"a", b"b"], 30)
        assert await client.receive_some() in (b"ab", b"a")
        with pytest.raises(trio.TooSlowError):
            await send_within(server, [bytes(2**22)], 0.05)
        await client.aclose()
        with pytest.raises(OSError, match=r"."):
            await send_within(server, [bytes(2**22)], 30)


async def test_root_and_our_user_are_allowed(
    listener: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what the kernel says of who connected."""
    client = await connect(listener)
    server, _ = await listener.accept()
    with server:
        assert is_allowed(server)
        ours = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: ours + 1)
        assert is_allowed(server) == (ours == 0)
    await client.aclose()
