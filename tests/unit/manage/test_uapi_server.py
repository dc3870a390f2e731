"""The server of the userspace API, and what clients cannot do to each other."""

import errno
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from meshnode.crypto.keys import PrivateKey
from meshnode.errors import ConfigError, HostError
from meshnode.manage import uapi, uapi_server, unix_server
from meshnode.manage.uapi_replies import serialise_status
from meshnode.manage.uapi_server import serve_uapi

# The fixtures' classes live in conftest.py, which cannot be imported.
FakeDevice = Any
Served = Any
ServeAt = Callable[[Path, FakeDevice], AbstractAsyncContextManager[Served]]

SHORT = 0.05


async def read_all(stream: trio.SocketStream) -> bytes:
    """Read to the end of the connection, orderly or not."""
    data = b""
    with trio.fail_after(30), suppress(trio.BrokenResourceError):
        while piece := await stream.receive_some():
            data += piece
    return data


async def test_get_tells_the_status(served: Served) -> None:
    """The reply is the status and its end."""
    served.device.status.private_key = PrivateKey(b"\x11" * 32)
    reply = await served.ask(b"get=1\n\n")
    assert reply == serialise_status(served.device.status)


async def test_set_is_applied_before_it_is_answered(served: Served) -> None:
    """A following get sees it."""
    assert await served.ask(b"set=1\nlisten_port=7\n\n") == b"errno=0\n\n"
    assert await served.ask(b"get=1\n\n") == b"listen_port=7\nerrno=0\n\n"


async def test_a_connection_serves_several_requests(served: Served) -> None:
    """Requests sent at once are answered in turn."""
    async with await served.connect() as stream:
        await stream.send_all(b"set=1\nfwmark=3\n\nget=1\n\n")
        await stream.send_all(b"set=1\nbad\n\nget=1\n\n")
        await stream.send_eof()
        replies = await read_all(stream)
    assert replies == b"errno=0\n\nfwmark=3\nerrno=0\n\n" + (
        b"errno=-71\n\nfwmark=3\nerrno=0\n\n"
    )


async def test_bytes_may_come_one_at_a_time(served: Served) -> None:
    """A request written byte by byte is served like any other."""
    async with await served.connect() as stream:
        for byte in b"set=1\nlisten_port=51820\nfwmark=9\n\n":
            await stream.send_all(bytes([byte]))
        assert await served.read_reply(stream) == b"errno=0\n\n"
    assert served.device.status.listen_port == 51820


@pytest.mark.parametrize(
    ("request_bytes", "reply"),
    [
        (b"get=1\nx\n\n", b"errno=22\n\n"),
        (b"set=1\nx\n\n", b"errno=-71\n\n"),
        (b"set=1\nx=1\n\n", b"errno=-22\n\n"),
    ],
)
async def test_bad_requests_are_answered(
    served: Served, request_bytes: bytes, reply: bytes
) -> None:
    """Each kind of mistake has its number, signed as `wg` reads it."""
    assert await served.ask(request_bytes) == reply
    assert served.device.changes == []


@pytest.mark.parametrize(
    "error", [ConfigError("no", errno=98), HostError("no", errno=98)]
)
async def test_errors_of_the_device_are_answered(
    served: Served, error: ConfigError | HostError
) -> None:
    """The device's errno comes back: positive for get, negative for set."""
    served.device.get_error = served.device.set_error = error
    assert await served.ask(b"get=1\n\n") == b"errno=98\n\n"
    assert await served.ask(b"set=1\n\n") == b"errno=-98\n\n"


@pytest.mark.parametrize("request_bytes", [b"", b"get=2\n", b"\n", b"set"])
async def test_probes_and_unknown_requests_get_silence(
    served: Served, request_bytes: bytes
) -> None:
    """`wg` connects and closes before each call; that is no error."""
    async with await served.connect() as stream:
        await stream.send_all(request_bytes)
        await stream.send_eof()
        assert await stream.receive_some() == b""
    assert await served.ask(b"get=1\n\n") == b"errno=0\n\n"


async def test_the_reply_to_a_set_is_one_write(
    tmp_path: Path, device: FakeDevice
) -> None:
    """As wgctrl reads once; a socket that keeps boundaries shows the writes."""
    path = str(tmp_path / "seqpacket")
    with trio.socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        await listener.bind(path)
        listener.listen()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_uapi, listener, device)
            with trio.socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
                await client.connect(path)
                await client.send(b"set=1\nlisten_port=1\n\n")
                assert await client.recv(32) == b"errno=0\n\n"
                await client.send(b"set=1\nnonsense=1\n\n")
                assert await client.recv(32) == b"errno=-22\n\n"
            nursery.cancel_scope.cancel()


async def test_a_client_that_never_finishes_is_dropped(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An incomplete request has its time; others are served meanwhile."""
    monkeypatch.setattr(uapi_server, "REQUEST_TIMEOUT", SHORT)
    async with await served.connect() as stream:
        await stream.send_all(b"set=1\nlisten_port=1\n")
        assert await served.ask(b"get=1\n\n") == b"errno=0\n\n"
        with trio.fail_after(30):
            assert await stream.receive_some() == b""
    assert served.device.changes == []


async def test_a_client_that_never_reads_is_dropped(
    tmp_path: Path,
    busy_device: FakeDevice,
    serve_at: ServeAt,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A reply that is not read ends with the connection, for this client only."""
    monkeypatch.setattr(uapi_server, "MAX_CLIENTS", 1)
    monkeypatch.setattr(uapi_server, "REPLY_TIMEOUT", SHORT)
    whole = serialise_status(busy_device.status)
    async with (
        serve_at(tmp_path / "wg.sock", busy_device) as served,
        await served.connect() as stream,
    ):
        await stream.send_all(b"get=1\n\n")
        # With one place only, this is served after the other was dropped.
        assert await served.ask(b"set=1\n\n") == b"errno=0\n\n"
        read = await read_all(stream)
    assert len(read) < len(whole)
    assert whole.startswith(read)


async def test_a_client_that_leaves_in_the_middle_harms_nobody(
    tmp_path: Path, busy_device: FakeDevice, serve_at: ServeAt
) -> None:
    """Closing during a reply ends that connection alone."""
    async with serve_at(tmp_path / "wg.sock", busy_device) as served:
        for _ in range(5):
            async with await served.connect() as stream:
                await stream.send_all(b"get=1\n\n")
                await stream.receive_some(100)
        assert (await served.ask(b"get=1\n\n")).endswith(b"errno=0\n\n")


async def test_a_request_beyond_the_limit_is_cut_off(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request without end is answered and the connection closed."""
    monkeypatch.setattr(uapi, "MAX_REQUEST", 100_000)
    async with await served.connect() as stream:
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(b"set=1\n" + b"listen_port=1\n" * 1_000_000)
        reply = await read_all(stream)
    assert reply == b"errno=-22\n\n"
    assert served.device.changes == []


async def test_sets_take_turns(served: Served) -> None:
    """A set begins when the one before has ended, whoever sent it."""
    served.device.set_gate = trio.Event()
    async with trio.open_nursery() as nursery:
        for port in range(1, 9):
            request = f"set=1\nlisten_port={port}\n\n".encode()
            nursery.start_soon(served.ask, request)
        await trio.testing.wait_all_tasks_blocked(SHORT)
        assert served.device.sets_at_once == 1
        served.device.set_gate.set()
    assert served.device.most_sets_at_once == 1
    assert len(served.device.changes) == 8


async def test_a_hundred_clients_are_served(served: Served) -> None:
    """More clients than places wait and are served."""
    replies = []

    async def ask() -> None:
        replies.append(await served.ask(b"get=1\n\n"))

    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(ask)
    assert replies == [b"errno=0\n\n"] * 100


async def test_a_set_outlives_its_client(served: Served) -> None:
    """A client that hangs up does not leave a change half made."""
    served.device.set_gate = trio.Event()
    async with await served.connect() as stream:
        await stream.send_all(b"set=1\nlisten_port=5\n\n")
        await trio.testing.wait_all_tasks_blocked(SHORT)
        assert served.device.sets_at_once == 1
    served.device.set_gate.set()
    await trio.testing.wait_all_tasks_blocked(SHORT)
    assert served.device.status.listen_port == 5


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


async def test_want_of_descriptors_does_not_end_the_server(
    tmp_path: Path, device: FakeDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failing accept is tried again."""
    monkeypatch.setattr(unix_server, "_ACCEPT_PAUSE", 0.001)
    path = str(tmp_path / "wg.sock")
    with trio.socket.socket(socket.AF_UNIX) as listener:
        await listener.bind(path)
        listener.listen()
        failing: Any = FailingListener(
            listener, [errno.EMFILE, errno.ENFILE, errno.ECONNABORTED]
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_uapi, failing, device)
            async with await trio.open_unix_socket(path) as stream:
                await stream.send_all(b"get=1\n\n")
                assert await stream.receive_some() == b"errno=0\n\n"
            nursery.cancel_scope.cancel()
    assert failing.failures == []


@pytest.mark.root
async def test_another_user_is_refused(device: FakeDevice, serve_at: ServeAt) -> None:
    """Neither the status nor a change is for a user who is not us or root."""
    client = (
        "import os, socket, sys\n"
        "os.setgroups([])\n"
        "os.setgid(65534)\n"
        "os.setuid(65534)\n"
        "s = socket.socket(socket.AF_UNIX)\n"
        "s.connect(sys.argv[1])\n"
        "try:\n"
        "    s.sendall(b'set=1\\nlisten_port=1\\n\\n')\n"
        "    print(s.recv(100))\n"
        "except ConnectionError:\n"
        "    print(b'')\n"
    )
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "wg.sock")
        async with serve_at(path, device):
            os.chmod(directory, 0o755)
            path.chmod(0o777)  # noqa: ASYNC240  # a local file
            done = await trio.run_process(
                [sys.executable, "-c", client, str(path)],
                capture_stdout=True,
                stderr=subprocess.STDOUT,
            )
    assert done.stdout == b"b''\n"
    assert device.changes == []
