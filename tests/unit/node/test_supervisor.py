"""The supervisor's decisions, over make-believe processes and a make-believe host."""

import os
import socket
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from meshnode.codec.lifeline import (
    Begin,
    ControlMessage,
    Direction,
    DropSocket,
    Failed,
    KeepSocket,
    LinkChanged,
    Ready,
    Rebind,
    Rebound,
    SupervisorMessage,
    WantCarrier,
    WantProxy,
    WantTls,
    Worker,
    WorkerStarted,
    decode_from_supervisor,
    encode,
    workers_of,
)
from meshnode.errors import HostError
from meshnode.host.channels import recv_with_fds, send_with_fds
from meshnode.host.clock import boottime
from meshnode.host.linkwatch import LinkGone
from meshnode.host.rtnetlink import LinkState
from meshnode.manage.paths import Directories
from meshnode.node import supervisor as module
from meshnode.node.launch import Settings
from meshnode.node.supervisor import Supervisor
from tests.unit.node.test_outlet import unbound_pair

_SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
SETTINGS = Settings("reference", "info", Directories())
EGRESS, INGRESS = workers_of(1)


class FakeWatch:
    """A pipe that is readable when `tell` was called; then says *told*."""

    state = LinkState(1, "wg0", 1420, up=False)

    def __init__(self, of: object) -> None:
        self.told: list[Any] = []
        self._reading, self._writing = os.pipe()

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        return self._reading

    def tell(self, *told: object) -> None:
        """Make it readable."""
        self.told += told
        os.write(self._writing, b"x")

    def events(self) -> list[Any]:
        """Be a link watch."""
        if self.told:
            os.read(self._reading, 9)
        told, self.told = self.told, []
        return told

    def is_gone(self) -> bool:
        """Be a file watch."""
        return bool(self.events())

    def close(self) -> None:
        """Close the pipe."""
        os.close(self._reading)
        os.close(self._writing)


class FakeLauncher:
    """Starts sleeping processes; keeps control's end of each lifeline."""

    def __init__(self, resources: object, settings: object) -> None:
        self.lifelines: list[socket.socket] = []
        self.started: list[Any] = []

    def worker(self, worker: Worker, generation: int) -> int:
        """Start a worker."""
        self.started.append((worker, generation))
        return os.posix_spawn(sys.executable, _SLEEP, os.environ)

    def carrier(self) -> int:
        """Start the process that carries what is steered."""
        self.started.append("carrier")
        return os.posix_spawn(sys.executable, _SLEEP, os.environ)

    def tls(self) -> int:
        """Start the process that speaks TLS."""
        self.started.append("tls")
        return os.posix_spawn(sys.executable, _SLEEP, os.environ)

    def proxy(self) -> int:
        """Start the process that serves applications."""
        self.started.append("proxy")
        return os.posix_spawn(sys.executable, _SLEEP, os.environ)

    def control(self, lifeline_fd: int) -> int:
        """Start control."""
        self.started.append("control")
        self.lifelines.append(socket.socket(fileno=os.dup(lifeline_fd)))
        return os.posix_spawn(sys.executable, _SLEEP, os.environ)


class Story:
    """A supervisor of that many workers, and a script that is played while it runs."""

    def __init__(self, workers: int = 1) -> None:
        self.ready: list[int] = []
        pairs = tuple(unbound_pair() for _ in range(workers))
        resources: Any = SimpleNamespace(
            tun=SimpleNamespace(fds=(1,)),
            uapi_path="x",
            udp=pairs,
            replaced=[*pairs],
            programs=dict.fromkeys(workers_of(workers)),
            listeners=(),
            forwards=(),
            watch_link=lambda: FakeWatch(None),
        )

        def replace_udp(new: Any) -> None:
            resources.udp = new
            resources.replaced += new

        resources.replace_udp = replace_udp
        resources.beside = {}
        resources.keep_beside = resources.beside.__setitem__
        resources.drop_beside = lambda port: os.close(resources.beside.pop(port))
        self.resources = resources
        self.supervisor: Any = Supervisor(
            resources, SETTINGS, lambda: self.ready.append(1)
        )
        self.launcher: FakeLauncher = self.supervisor._launcher

    def play(self, *steps: Callable[[], None]) -> None:
        """Run the supervisor; do one step each time before it sleeps, then end it.

        A step that wakes nobody is followed by the next one after a moment.
        """
        signals, ours = socket.socketpair()
        script = [*steps, lambda: ours.send(b"x")]
        sleep = self.supervisor._loop.wait

        def wait(until: float | None) -> None:
            if script:
                script.pop(0)()
                until = boottime() + 0.5
            sleep(until)

        self.supervisor._loop.wait = wait
        with signals, ours:
            self.supervisor.run(signals)

    def say(self, message: ControlMessage) -> Callable[[], None]:
        """Return the step in which control says *message*."""
        return lambda: self.launcher.lifelines[-1].send(encode(message)) and None

    def heard(self) -> list[tuple[SupervisorMessage, int]]:
        """Return what control was told, with the number of descriptors."""
        told = []
        for end in self.launcher.lifelines:
            while message := recv_with_fds(end, max_bytes=256, max_fds=32):
                if not message[0]:
                    break
                for fd in message[1]:
                    os.close(fd)
                told.append((decode_from_supervisor(message[0]), len(message[1])))
        return told

    def kill(self, name: str) -> Callable[[], None]:
        """Return the step in which a child is killed, and its end awaited."""

        def step() -> None:
            (child,) = [c for c in self.supervisor._children if c.name == name]
            os.kill(child.pid, 9)

        return step

    def close(self) -> None:
        """Close what is left."""
        self.supervisor.close()
        for end in self.launcher.lifelines:
            end.close()
        for pair in self.resources.replaced:
            pair.close()


@pytest.fixture
def make_believe(monkeypatch: pytest.MonkeyPatch) -> None:
    """The surroundings of a supervisor."""
    monkeypatch.setattr(module, "Launcher", FakeLauncher)
    monkeypatch.setattr(module, "FileWatch", FakeWatch)


@pytest.fixture
def story(make_believe: None) -> Iterator[Story]:
    """A supervisor whose surroundings are make-believe."""
    made = Story()
    yield made
    made.close()


@pytest.fixture
def story_of_two(make_believe: None) -> Iterator[Story]:
    """A supervisor of two workers for each direction."""
    made = Story(2)
    yield made
    made.close()


def test_all_are_started_and_control_hears_how_things_stand(story: Story) -> None:
    """Workers first, so that control knows their generations from the beginning."""
    story.play()
    assert story.launcher.started == [
        (EGRESS, 1),
        (INGRESS, 1),
        "control",
    ]
    assert story.heard() == [(Begin((1,), (1,), 1420, up=False), 0)]
    assert not any(child.is_running for child in story.supervisor._children)


def test_ready_is_told_once(story: Story) -> None:
    """A restarted control is ready again, but nobody waits any more."""
    story.play(story.say(Ready()), story.say(Ready()))
    assert story.ready == [1]


def test_the_carrier_is_started_when_control_wants_it(story: Story) -> None:
    """Once, and not before."""
    assert "carrier" not in story.launcher.started
    story.play(story.say(Ready()), story.say(WantCarrier()), story.say(WantCarrier()))
    assert story.launcher.started.count("carrier") == 1


def test_tls_is_started_when_control_wants_it(story: Story) -> None:
    """Once, and not before."""
    assert "tls" not in story.launcher.started
    story.play(story.say(Ready()), story.say(WantTls()), story.say(WantTls()))
    assert story.launcher.started.count("tls") == 1


def test_the_proxy_process_is_started_when_control_wants_it(story: Story) -> None:
    """Once, and not before."""
    assert "proxy" not in story.launcher.started
    story.play(story.say(Ready()), story.say(WantProxy()), story.say(WantProxy()))
    assert story.launcher.started.count("proxy") == 1


def test_a_death_before_ready_ends_the_start(story: Story) -> None:
    """A node that cannot start says so instead of trying for ever."""
    with pytest.raises(HostError, match=r"egress ended .* \(signal SIGKILL\)"):
        story.play(story.kill("egress"), lambda: None, lambda: None)


def test_control_says_why_it_cannot_go_on(story: Story) -> None:
    """Its reason and exit code are those of the command that started the node."""
    failed = story.say(Failed(3, "no such network"))
    with pytest.raises(HostError, match=r"^no such network$") as refusal:
        story.play(failed, story.kill("control"), lambda: None, lambda: None)
    assert refusal.value.exit_code == 3


def test_silence_at_the_start_is_given_up(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that never gets ready is no node."""
    monkeypatch.setattr(module, "START_TIMEOUT", 0.0)
    with pytest.raises(HostError, match="not ready"):
        story.play(lambda: None)


def test_a_dead_worker_is_replaced_and_control_told(
    story: Story, caplog: pytest.LogCaptureFixture
) -> None:
    """The new one has a generation of its own; the log has one line with the reason."""
    story.play(story.say(Ready()), story.kill("ingress"), lambda: None)
    assert story.launcher.started[-1] == (INGRESS, 2)
    assert story.heard()[-1] == (WorkerStarted(INGRESS, 2), 0)
    assert "ingress ended: signal SIGKILL" in caplog.text


def test_a_dead_control_gets_a_lifeline_of_its_own(story: Story) -> None:
    """Its successor is told anew how things stand, and nothing meant for another."""
    story.play(story.say(Ready()), story.kill("control"), lambda: None)
    assert story.launcher.started[-1] == "control"
    assert len(story.launcher.lifelines) == 2
    begin = Begin((1,), (1,), 1420, up=False)
    assert story.heard() == [(begin, 0), (begin, 0)]


def test_changes_of_the_link_are_told(story: Story) -> None:
    """MTU and state reach control."""
    change = LinkState(1, "wg0", 1300, up=True)
    story.play(lambda: story.supervisor._link.tell(change))
    assert story.heard()[-1] == (LinkChanged(1300, up=True), 0)


@pytest.mark.parametrize("watch", ["_link", "_socket_file"])
def test_what_is_removed_ends_the_node(story: Story, watch: str) -> None:
    """Without interface or socket there is nothing left to do: no signal is needed."""
    story.play(
        lambda: getattr(story.supervisor, watch).tell(LinkGone()),
        lambda: pytest.fail("still running"),
    )


def test_a_new_port_is_had_before_the_old_one_is_let_go(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control gets the descriptors; processes started later get them, too."""
    asked = []

    def open_pairs(count: int, port: int, *, fwmark: int) -> Any:
        asked.append((count, port, fwmark))
        return (unbound_pair(),)

    monkeypatch.setattr(module, "open_udp_pairs", open_pairs)
    story.play(story.say(Rebind(4711, 7)))
    assert asked == [(1, 4711, 7)]
    assert story.heard()[-1] == (Rebound(0), 1)
    assert len(story.resources.replaced) == 2


def test_a_taken_port_changes_nothing(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The errno goes back, and the old sockets stay."""

    def refuse(count: int, port: int, *, fwmark: int) -> None:
        raise HostError("taken", errno=98)

    monkeypatch.setattr(module, "open_udp_pairs", refuse)
    story.play(story.say(Rebind(4711, 7)))
    assert story.heard()[-1] == (Rebound(98), 0)
    assert len(story.resources.replaced) == 1


def test_a_control_that_speaks_nonsense_is_replaced(
    story: Story, caplog: pytest.LogCaptureFixture
) -> None:
    """It is not trusted any further."""
    story.play(
        story.say(Ready()),
        lambda: story.launcher.lifelines[-1].send(b"\xff") and None,
        lambda: None,
        lambda: None,
    )
    assert story.launcher.started.count("control") == 2
    assert "nonsense" in caplog.text


def test_each_of_several_workers_is_replaced_alone(story_of_two: Story) -> None:
    """Its number and its own generation are told, and it is named in the log."""
    story = story_of_two
    second = Worker(Direction.EGRESS, 1)
    story.play(story.say(Ready()), story.kill("egress-1"), lambda: None)
    assert story.launcher.started == [
        *((worker, 1) for worker in workers_of(2)),
        "control",
        (second, 2),
    ]
    assert story.heard() == [
        (Begin((1, 1), (1, 1), 1420, up=False), 0),
        (WorkerStarted(second, 2), 0),
    ]


def test_a_new_port_is_had_for_all_workers(
    story_of_two: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control gets the sockets of every one of them."""

    def open_pairs(count: int, port: int, *, fwmark: int) -> Any:
        return tuple(unbound_pair() for _ in range(count))

    monkeypatch.setattr(module, "open_udp_pairs", open_pairs)
    story_of_two.play(story_of_two.say(Rebind(4711, 7)))
    assert story_of_two.heard()[-1] == (Rebound(0), 2)


def test_a_socket_beside_is_kept_until_control_drops_it(story: Story) -> None:
    """What comes with other messages is closed, for nobody else would."""
    reading, writing = os.pipe()

    def give(message: ControlMessage) -> Callable[[], None]:
        return lambda: (
            send_with_fds(story.launcher.lifelines[-1], encode(message), [reading])
            and None
        )

    def check() -> None:
        assert list(story.resources.beside) == [4711]
        assert os.fstat(story.resources.beside[4711]) == os.fstat(reading)
        story.say(DropSocket(4711))()

    story.play(give(Ready()), give(KeepSocket(4711)), check)
    assert story.resources.beside == {}
    os.close(writing)
    os.close(reading)


def test_ports_are_carried_by_a_process_if_there_are_any(
    make_believe: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No other node has it."""
    resources: Any = SimpleNamespace(
        programs={},
        listeners=(),
        uapi_path="x",
        watch_link=lambda: FakeWatch(None),
        forwards=("one",),
    )
    roles = ["control", "tls", "proxy", "carrier", "forward"]
    launcher: Any = SimpleNamespace(**dict.fromkeys(roles, int))
    monkeypatch.setattr(module, "Launcher", lambda *_: launcher)
    supervisor = Supervisor(resources, SETTINGS, lambda: None)
    names = [child.name for child in supervisor._children]
    assert names == roles
    supervisor.close()
