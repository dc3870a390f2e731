"""The server of the control socket, and what clients cannot do to each other."""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from meshnode.errors import ConfigError, MeshnodeError, PrivilegeError
from meshnode.manage import api_server
from meshnode.manage.api_protocol import MAX_REQUEST, Request
from meshnode.manage.api_server import EventStream, serve_api

SHORT = 0.05


class Node:
    """Answers as it is told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.gate: trio.Event | None = None
        self.finished = 0
        self.streams: list[EventStream] = []
        self.next_stream: EventStream | None = None
        self.result: dict[str, object] = {"name": "a"}

    async def __call__(self, request: Request) -> dict[str, object] | EventStream:
        """Answer *request*."""
        self.asked.append(request)
        await trio.lowlevel.checkpoint()
        if self.gate is not None:
            await self.gate.wait()
        self.finished += 1
        if request.verb == "watch":
            self.streams.append(self.next_stream or EventStream())
            return self.streams[-1]
        if request.verb == "fail":
            raise ConfigError("two\nlines")
        if request.verb == "denied":
            raise PrivilegeError("no")
        if request.verb == "fault":
            raise KeyError("a fault of ours")
        if request.verb == "bytes":
            return {"a": b"no JSON"}
        return self.result


class Client:
    """A connection that speaks lines."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._buffer = b""

    async def send(self, *requests: dict[str, object]) -> None:
        """Send *requests*, one a line."""
        for request in requests:
            await self.stream.send_all(json.dumps(request).encode() + b"\n")

    async def line(self) -> Any:
        """The next line, None at the end of the connection."""
        with trio.fail_after(30):
            while b"\n" not in self._buffer:
                try:
                    data = await self.stream.receive_some()
                except trio.BrokenResourceError:
                    data = b""
                if not data:
                    assert self._buffer == b""
                    return None
                self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)

    async def ask(self, verb: str, **args: object) -> Any:
        """Send a request and return the next line."""
        await self.send({"verb": verb, **args})
        return await self.line()


class Served:
    """A node and the socket it is served on."""

    def __init__(self, path: Path, node: Node) -> None:
        self.path = path
        self.node = node

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """A connection."""
        async with await trio.open_unix_socket(self.path) as stream:
            yield Client(stream)

    async def ask(self, verb: str, **args: object) -> Any:
        """Ask on a connection of its own."""
        async with self.client() as client:
            return await client.ask(verb, **args)


@asynccontextmanager
async def serve(path: Path) -> AsyncIterator[Served]:
    """Serve a node at *path* while the block runs."""
    node = Node()
    with trio.socket.socket(socket.AF_UNIX) as listener:
        await listener.bind(str(path))
        listener.listen(256)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_api, listener, node)
            yield Served(path, node)
            nursery.cancel_scope.cancel()


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """A node, served."""
    async with serve(tmp_path / "home.sock") as served:
        yield served


def failure(code: int, text: str) -> dict[str, object]:
    """The line of a bad end."""
    return {"schema": 1, "ok": False, "error": {"code": code, "text": text}}


async def test_a_request_is_answered(served: Served) -> None:
    """The handler gets verb and arguments, the client the result."""
    reply = await served.ask("status", deep=[1, {"a": None}])
    assert reply == {"schema": 1, "ok": True, "result": {"name": "a"}}
    assert served.node.asked == [Request("status", {"deep": [1, {"a": None}]})]


async def test_a_connection_serves_several_requests(served: Served) -> None:
    """In turn, and a bad one between them is told and skipped."""
    async with served.client() as client:
        await client.send({"verb": "a"}, {}, {"verb": "fail"}, {"verb": "b"})
        lines = [await client.line() for _ in range(4)]
        await client.stream.send_eof()
        assert await client.line() is None
    good = {"schema": 1, "ok": True, "result": {"name": "a"}}
    bad = [failure(2, "request: no verb"), failure(1, "two lines")]
    assert lines == [good, *bad, good]


async def test_errors_have_the_exit_code_of_the_command(served: Served) -> None:
    """Each error its own."""
    assert await served.ask("fail") == failure(1, "two lines")
    assert await served.ask("denied") == failure(5, "no")


@pytest.mark.parametrize("verb", ["fault", "bytes"])
async def test_a_fault_of_ours_ends_one_request_only(
    served: Served, verb: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is in the log, and told without its details."""
    async with served.client() as client:
        reply = await client.ask(verb)
        assert reply["error"]["code"] == 1
        assert "log" in reply["error"]["text"]
        assert "fault of ours" not in reply["error"]["text"]
        assert (await client.ask("status"))["ok"]
    assert caplog.records


async def test_requests_of_several_clients_are_under_way_at_once(
    served: Served,
) -> None:
    """One that takes long keeps nobody waiting but its own client."""
    served.node.gate = trio.Event()
    async with served.client() as slow:
        await slow.send({"verb": "slow"})
        await trio.testing.wait_all_tasks_blocked(SHORT)
        served.node.gate, gate = None, served.node.gate
        assert (await served.ask("status"))["ok"]
        gate.set()
        assert (await slow.line())["ok"]


async def test_a_request_outlives_its_client(served: Served) -> None:
    """A client that hangs up does not leave a change half made."""
    served.node.gate = trio.Event()
    async with served.client() as client:
        await client.send({"verb": "change"})
        await trio.testing.wait_all_tasks_blocked(SHORT)
    served.node.gate.set()
    await trio.testing.wait_all_tasks_blocked(SHORT)
    assert served.node.finished == 1


async def test_a_hundred_clients_are_served(served: Served) -> None:
    """More than there are places wait and are served."""
    replies = []

    async def ask() -> None:
        replies.append(await served.ask("status"))

    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(ask)
    assert len(replies) == 100
    assert all(reply["ok"] for reply in replies)


async def test_a_request_that_never_ends_is_dropped(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte now and then does not prolong it."""
    monkeypatch.setattr(api_server, "REQUEST_TIMEOUT", 4 * SHORT)
    async with served.client() as client:

        async def drip() -> None:
            while True:
                await client.stream.send_all(b"x")
                await trio.sleep(SHORT)

        with trio.fail_after(30), pytest.raises(trio.BrokenResourceError):
            await drip()
        assert (await served.ask("status"))["ok"]
    assert len(served.node.asked) == 1


async def test_a_request_too_long_is_told_and_dropped(served: Served) -> None:
    """A hundred megabytes are not read."""
    async with served.client() as client:
        with pytest.raises(trio.BrokenResourceError):
            await client.stream.send_all(bytes(100 * 2**20))
        # The connection was reset, or our reply came before.
        line = await client.line()
        assert line in (None, failure(2, f"request: longer than {MAX_REQUEST} bytes"))
    assert served.node.asked == []


async def test_a_client_that_never_reads_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one place only, the next is served after it."""
    monkeypatch.setattr(api_server, "MAX_CLIENTS", 1)
    monkeypatch.setattr(api_server, "REPLY_TIMEOUT", SHORT)
    async with serve(tmp_path / "s") as served, served.client() as client:
        served.node.result = {"a": "x" * 2**22}
        await client.send({"verb": "status"})
        await trio.testing.wait_all_tasks_blocked(SHORT)
        served.node.result = {}
        assert await served.ask("status") == {"schema": 1, "ok": True, "result": {}}


async def stream_of(served: Served, client: Client) -> EventStream:
    """The stream that *client* asked for."""
    before = len(served.node.streams)
    await client.send({"verb": "watch"})
    while len(served.node.streams) == before:
        await trio.testing.wait_all_tasks_blocked(0.001)
    return served.node.streams[-1]


async def test_events_come_as_they_happen(served: Served) -> None:
    """Until the stream ends well; then the connection closes."""
    async with served.client() as client:
        stream = await stream_of(served, client)
        stream.send({"n": 1})
        assert await client.line() == {"schema": 1, "event": {"n": 1}}
        stream.send({"n": 2})
        stream.send({"n": 3})
        stream.end({"seen": 3})
        stream.send({"n": 4})
        stream.end({"seen": 4})
        assert [await client.line() for _ in range(2)] == [
            {"schema": 1, "event": {"n": 2}},
            {"schema": 1, "event": {"n": 3}},
        ]
        assert await client.line() == {"schema": 1, "ok": True, "result": {"seen": 3}}
        assert await client.line() is None
        with trio.fail_after(30):
            await stream.wait_closed()


async def test_a_descriptor_goes_with_the_first_event(served: Served) -> None:
    """Once; the handler hears when it is held no longer."""
    closed: list[bool] = []
    ours, theirs = os.pipe()
    stream = EventStream(descriptor=ours, on_close=lambda: closed.append(True))
    served.node.next_stream = stream
    async with served.client() as client:
        await client.send({"verb": "watch"})
        stream.send({"n": 1})
        stream.send({"n": 2})
        with trio.fail_after(30):
            raw = client.stream.socket
            data, ancillary, _, _ = await raw.recvmsg(9999, socket.CMSG_LEN(4))
            [(_, _, found)] = ancillary
            while data.count(b"\n") < 2:
                data += await raw.recv(9999)
        os.write(theirs, b"x")
        received = int.from_bytes(found, sys.byteorder)
        assert os.read(received, 9) == b"x"
        for descriptor in (received, ours, theirs):
            os.close(descriptor)
        assert not closed
        await client.stream.aclose()
        with trio.fail_after(30):
            await stream.wait_closed()
    assert closed == [True]


async def test_a_stream_can_end_badly(served: Served) -> None:
    """With the error's code."""

    class NoReplyError(MeshnodeError):
        exit_code = 4

    async with served.client() as client:
        stream = await stream_of(served, client)
        stream.fail(NoReplyError("no reply"))
        assert await client.line() == failure(4, "no reply")


@pytest.mark.parametrize("way", ["closes", "speaks"])
async def test_a_client_ends_its_stream(served: Served, way: str) -> None:
    """Whoever has events learns it, and further ones go nowhere."""
    async with served.client() as client:
        stream = await stream_of(served, client)
        assert not stream.is_closed
        if way == "closes":
            await client.stream.aclose()
        else:
            await client.stream.send_all(b"x")
        with trio.fail_after(30):
            await stream.wait_closed()
    for _ in range(10):
        stream.send({"n": 1})
    assert not stream._lines


async def test_who_reads_too_slowly_is_told_and_dropped(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue has a bound, and whoever has events does not wait."""
    monkeypatch.setattr(api_server, "MAX_QUEUED", 20)
    async with served.client() as client:
        stream = await stream_of(served, client)
        for number in range(1000):
            stream.send({"n": number, "padding": "x" * 10_000})
            assert len(stream._lines) <= 20
            await trio.lowlevel.checkpoint()
        lines = []
        while (line := await client.line()) is not None:
            lines.append(line)
    numbers = [line["event"]["n"] for line in lines[:-1]]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) < 999
    assert lines[-1] == failure(
        1, "20 events were waiting: read faster, and begin again"
    )
    assert stream.is_closed


async def test_a_stream_that_is_not_read_is_dropped_in_time(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its place becomes free though the client stays."""
    monkeypatch.setattr(api_server, "REPLY_TIMEOUT", SHORT)
    async with served.client() as client:
        stream = await stream_of(served, client)
        stream.send({"padding": "x" * 2**22})
        with trio.fail_after(30):
            await stream.wait_closed()


async def test_streams_leave_places_for_commands(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One too many is refused, and one that ends makes room."""
    monkeypatch.setattr(api_server, "MAX_STREAMS", 1)
    async with served.client() as first, served.client() as second:
        stream = await stream_of(served, first)
        await trio.testing.wait_all_tasks_blocked(SHORT)
        refused = await second.ask("watch")
        assert refused == failure(1, "1 commands wait for events already; end one")
        with trio.fail_after(30):
            await served.node.streams[-1].wait_closed()
        assert (await served.ask("status"))["ok"]
        stream.end({})
        assert (await first.line())["ok"]
    async with served.client() as third:
        await stream_of(served, third)
        await trio.testing.wait_all_tasks_blocked(SHORT)
        assert not served.node.streams[-1].is_closed


@pytest.mark.root
async def test_another_user_is_refused() -> None:
    """And told so; what it asks is not read."""
    client = (
        "import os, socket, sys\n"
        "os.setgroups([])\nos.setgid(65534)\nos.setuid(65534)\n"
        "s = socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n"
        'try:\n    s.sendall(b\'{"verb": "stop"}\\n\')\nexcept OSError:\n    pass\n'
        "print(s.recv(1000).decode())\n"
    )
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "home.sock")
        async with serve(path) as served:
            path.parent.chmod(0o755)
            path.chmod(0o777)  # noqa: ASYNC240  # a local file
            done = await trio.run_process(
                [sys.executable, "-c", client, str(path)],
                capture_stdout=True,
                stderr=subprocess.STDOUT,
            )
    reply = json.loads(done.stdout)
    assert reply["error"]["code"] == 5
    assert served.node.asked == []
