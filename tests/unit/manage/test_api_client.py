"""What a command learns of a node: its answers, or why there is none."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from meshnode.errors import HostError, MeshnodeError, PrivilegeError, UsageError
from meshnode.manage import api_client
from meshnode.manage.api_client import (
    Borrowed,
    NoReplyError,
    NotRunningError,
    RemoteError,
    borrow,
    call,
    stream,
)
from meshnode.manage.api_protocol import (
    EventLine,
    Failure,
    Result,
    serialise_reply,
)
from meshnode.manage.paths import Directories


@pytest.fixture
def directories(tmp_path: Path) -> Directories:
    """Directories of our own."""
    return Directories(run=tmp_path)


@contextmanager
def node(
    directories: Directories, answer: Callable[[socket.socket, bytes], None]
) -> Iterator[list[bytes]]:
    """A node of the network home that answers one client by *answer*."""
    asked: list[bytes] = []
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(directories.api_socket("home")))
    listener.listen()

    def serve() -> None:
        client, _ = listener.accept()
        with client, client.makefile("rb") as lines:
            asked.append(lines.readline())
            with suppress(OSError):
                answer(client, asked[0])

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield asked
    finally:
        thread.join(30)
        listener.close()
        assert not thread.is_alive()


def test_a_call_returns_the_result(directories: Directories) -> None:
    """However it is cut on its way."""
    reply = serialise_reply(Result({"peers": ["é" * 1000]}))

    def answer(client: socket.socket, _: bytes) -> None:
        for start in range(0, len(reply), 700):
            client.sendall(reply[start : start + 700])

    with node(directories, answer) as asked:
        result = call(directories, "home", "status", verbose=True)
    assert result == {"peers": ["é" * 1000]}
    assert json.loads(asked[0]) == {"verb": "status", "verbose": True}


def test_an_error_of_the_node_is_ours(directories: Directories) -> None:
    """With its text and exit code."""

    def answer(client: socket.socket, _: bytes) -> None:
        client.sendall(serialise_reply(Failure(3, "no such member")))

    with (
        node(directories, answer),
        pytest.raises(RemoteError, match=r"^no such member$") as caught,
    ):
        call(directories, "home", "kick", name="x")
    assert caught.value.exit_code == 3


def assert_not_up(ask: Callable[[], object]) -> None:
    """The question finds nobody."""
    with pytest.raises(NotRunningError) as caught:
        ask()
    assert str(caught.value) == "network home is not up: meshnode up home"
    assert caught.value.exit_code == 1


def test_without_a_node_it_is_told_how_to_start_one(directories: Directories) -> None:
    """Without a socket, with one that nobody serves, and without the directory."""
    path = directories.api_socket("home")
    assert_not_up(lambda: call(directories, "home", "status"))
    assert_not_up(lambda: stream(directories, "home", "watch"))
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert_not_up(lambda: call(directories, "home", "status"))
    nowhere = Directories(run=directories.run / "none")
    assert_not_up(lambda: call(nowhere, "home", "status"))


def test_a_node_that_ends_is_told(directories: Directories) -> None:
    """Before a reply, and in the middle of one."""
    for start in (b"", b'{"schema": 1'):
        directories.api_socket("home").unlink(missing_ok=True)
        with (
            node(directories, lambda client, _, start=start: client.sendall(start)),  # type: ignore[misc]
            pytest.raises(NotRunningError, match="ended before it answered"),
        ):
            call(directories, "home", "status")


def test_a_node_that_does_not_answer_is_not_waited_for(
    directories: Directories,
) -> None:
    """Nor one that answers a byte at a time."""
    done = threading.Event()

    def answer(client: socket.socket, _: bytes) -> None:
        while not done.wait(0.01):
            client.sendall(b" ")

    with node(directories, answer):
        with pytest.raises(NoReplyError, match=r"did not answer in 0\.1 s") as caught:
            call(directories, "home", "status", reply_timeout=0.1)
        done.set()
    assert caught.value.exit_code == 4


def test_a_node_whose_queue_is_full_is_not_waited_for(
    directories: Directories, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that hangs does not accept."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directories.api_socket("home")))
        listener.listen(0)
        with socket.socket(socket.AF_UNIX) as other:
            other.connect(str(directories.api_socket("home")))
            with pytest.raises(NoReplyError):
                call(directories, "home", "status", reply_timeout=0.1)


@pytest.mark.parametrize(
    "line",
    [b"nonsense\n", b'{"schema": 2, "ok": true, "result": {}}\n', b"\n", b"\xff\n"],
)
def test_what_is_no_reply_is_told(directories: Directories, line: bytes) -> None:
    """A node of another version is the likeliest."""
    with (
        node(directories, lambda client, _: client.sendall(line)),
        pytest.raises(HostError, match="run: meshnode restart home"),
    ):
        call(directories, "home", "status")


def test_a_reply_without_end_is_not_read(
    directories: Directories, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory has a bound on this side, too."""
    monkeypatch.setattr(api_client, "MAX_REPLY", 100_000)

    def answer(client: socket.socket, _: bytes) -> None:
        for _ in range(1000):
            client.sendall(bytes(10_000))

    with node(directories, answer), pytest.raises(HostError, match="too long"):
        call(directories, "home", "status")


def test_events_are_yielded_until_the_end(directories: Directories) -> None:
    """And the result is what the generator returns."""

    def answer(client: socket.socket, _: bytes) -> None:
        for number in range(3):
            client.sendall(serialise_reply(EventLine({"n": number})))
        client.sendall(serialise_reply(Result({"seen": 3})))

    with node(directories, answer):
        events = stream(directories, "home", "watch")
        found = [next(events) for _ in range(3)]
        with pytest.raises(StopIteration) as end:
            next(events)
    assert end.value.value == {"seen": 3}
    assert found == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_events_may_end_with_an_error(directories: Directories) -> None:
    """After those before it."""

    def answer(client: socket.socket, _: bytes) -> None:
        client.sendall(serialise_reply(EventLine({"n": 1})))
        client.sendall(serialise_reply(Failure(4, "no reply")))

    with node(directories, answer):
        events = stream(directories, "home", "ping")
        assert next(events) == {"n": 1}
        with pytest.raises(RemoteError) as caught:
            next(events)
    assert caught.value.exit_code == 4


def test_closing_the_events_ends_the_request(directories: Directories) -> None:
    """The node sees it."""
    ended = threading.Event()

    def answer(client: socket.socket, _: bytes) -> None:
        client.sendall(serialise_reply(EventLine({})))
        if not client.recv(1):
            ended.set()

    with node(directories, answer):
        events = stream(directories, "home", "watch")
        next(events)
        events.close()
        assert ended.wait(30)


def test_events_may_be_waited_for_with_a_limit(directories: Directories) -> None:
    """Of one's own."""
    done = threading.Event()
    with node(directories, lambda *_: done.wait(30) and None):  # type: ignore[func-returns-value]
        events = stream(directories, "home", "watch", event_timeout=0.05)
        with pytest.raises(NoReplyError):
            next(events)
        done.set()


def test_a_call_does_not_take_events(directories: Directories) -> None:
    """A verb that became one of events in another version is told."""

    def answer(client: socket.socket, _: bytes) -> None:
        client.sendall(serialise_reply(EventLine({})))

    with node(directories, answer), pytest.raises(MeshnodeError, match="events"):
        call(directories, "home", "status")


def test_what_cannot_be_asked_is_refused_here(directories: Directories) -> None:
    """Before it is sent; a name that leads elsewhere is no network."""
    with node(directories, lambda *_: None) as asked:
        with pytest.raises(UsageError):
            call(directories, "home", "join", token="x" * 70_000)
        assert asked == []
        # The node still waits for its one client.
        with pytest.raises(NotRunningError):
            call(directories, "home", "status")
    with pytest.raises(UsageError, match="no network name"):
        call(directories, "../x", "status")


def test_a_path_too_long_for_a_socket_is_told(tmp_path: Path) -> None:
    """The kernel's limit is 107 bytes."""
    with pytest.raises(HostError, match="too long"):
        call(Directories(run=tmp_path / ("x" * 120)), "home", "status")


@pytest.mark.root
def test_another_user_is_told_to_use_sudo() -> None:
    """The directory of the socket is closed to it."""
    code = (
        "import os, sys\nfrom pathlib import Path\n"
        "from meshnode.manage.api_client import call\n"
        "from meshnode.manage.paths import Directories\n"
        "os.setgroups([])\nos.setgid(65534)\nos.setuid(65534)\n"
        "try:\n    call(Directories(run=Path(sys.argv[1])), 'home', 'status')\n"
        "except Exception as e:\n    print(e.exit_code, e)\n"
    )
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o700)
        done = subprocess.run(
            [sys.executable, "-c", code, directory],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.stdout.startswith(f"5 {directory}/home.sock: Permission denied; use")
    assert PrivilegeError.exit_code == 5


def test_what_is_lent_is_held_inside_the_block(directories: Directories) -> None:
    """With what the node says of it, then and later; until it ends."""
    ours, theirs = os.pipe()
    goes_on, ends = threading.Event(), threading.Event()

    def answer(client: socket.socket, _: bytes) -> None:
        first = serialise_reply(EventLine({"bytes": 7}))
        socket.send_fds(client, [first[:5]], [ours])
        client.sendall(first[5:])
        goes_on.wait(30)
        client.sendall(serialise_reply(EventLine({"n": 1})) * 2)
        ends.wait(30)

    with (
        node(directories, answer),
        borrow(directories, "home", "capture", pid=1) as borrowed,
    ):
        assert borrowed.facts == {"bytes": 7}
        assert borrowed.events() == []
        os.write(theirs, b"x")
        assert os.read(borrowed.descriptor, 9) == b"x"
        goes_on.set()
        found: list[dict[str, object]] = []
        while len(found) < 2:
            found += borrowed.events()
        assert found == [{"n": 1}] * 2
        ends.set()
        with pytest.raises(NotRunningError):
            _listen_for_ever(borrowed)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(borrowed.descriptor)
    os.close(ours)
    os.close(theirs)


def _listen_for_ever(borrowed: Borrowed) -> None:
    while True:
        borrowed.events()


def test_nothing_lent_is_told(directories: Directories) -> None:
    """A node that answers and gives nothing."""

    def answer(client: socket.socket, _: bytes) -> None:
        client.sendall(serialise_reply(EventLine({"bytes": 7})))

    with (
        node(directories, answer),
        pytest.raises(NoReplyError, match="came without what was asked for"),
        borrow(directories, "home", "capture"),
    ):
        pass
