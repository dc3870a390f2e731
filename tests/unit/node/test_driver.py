"""The driver: every input is drained, in the order that the engine demands."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from meshnode.codec import tai64n
from meshnode.codec.forwarding import decode_command
from meshnode.codec.lifeline import workers_of
from meshnode.crypto.keys import PrivateKey
from meshnode.dataplane.traffic import ControlView, TrafficTable
from meshnode.errors import ConfigError, DropReason, HostError
from meshnode.forwarding import (
    AddPeer,
    Command,
    NeedSession,
    ProgramComplete,
    Reset,
    SetIdentity,
    SetLink,
)
from meshnode.host.clock import BootTimer, boottime
from meshnode.node.driver import Driver, warn_of_slow_clock
from meshnode.node.fleet import Fleet
from meshnode.node.marks import TimestampMarks
from meshnode.node.vault import Vault
from meshnode.types import Datagram, Endpoint, Prefix
from meshnode.types import Path as WirePath
from meshnode.wireguard.config import DeviceChange, PeerChange
from meshnode.wireguard.engine import Engine
from tests.unit.node.test_outlet import unbound_pair

ALICE, BOB = PrivateKey(b"a" * 32), PrivateKey(b"b" * 32)
TABLE_SLOTS = 64
EGRESS, INGRESS = workers_of(1)


class FakeLink:
    """Keeps what a worker would be sent, in one story with everything else."""

    def __init__(self, name: str, story: list[Any]) -> None:
        self.generation = 0
        self.commands: list[Command] = []
        self._name = name
        self._story = story

    def put_messages(self, messages: Iterable[bytes]) -> None:
        """Take commands."""
        self.commands += map(decode_command, messages)
        self._story.append(f"commands to {self._name}")

    def start_over(self, generation: int, program: Iterable[Command]) -> None:
        """Take a program."""
        self.generation = generation
        self.commands = [Reset(generation), *program, ProgramComplete()]


class FakeOutlet:
    """Keeps what would be sent."""

    def __init__(self, story: list[Any]) -> None:
        self.pair = unbound_pair()
        self.sent: list[Datagram] = []
        self._story = story

    def send(self, datagrams: Iterable[Datagram]) -> None:
        """Take datagrams."""
        new = list(datagrams)
        self.sent += new
        if new:
            self._story.append("datagrams")


class Node:
    """A driver with fakes around it, and what happened in `story`."""

    def __init__(self, state_dir: Path, memory: bytearray) -> None:
        self.story: list[Any] = []
        self.egress = FakeLink("egress", self.story)
        self.ingress = FakeLink("ingress", self.story)
        self.outlet = FakeOutlet(self.story)
        self.marks = TimestampMarks(state_dir)
        self.memory = memory
        self.timer = BootTimer()
        table = TrafficTable(bytearray(TABLE_SLOTS * 192))
        engine = Engine(
            entropy=lambda count: bytes(range(7, 7 + count)) if count < 99 else b"",
            traffic=ControlView(table),
            wall_time=1e9,
            now=boottime(),
        )
        self.engine = engine
        self.driver = Driver(
            engine,
            vault=Vault(memory),
            marks=self.marks,
            outlet=self.outlet,  # type: ignore[arg-type]
            workers=Fleet({EGRESS: self.egress, INGRESS: self.ingress}),  # type: ignore[dict-item]
            timer=self.timer,
            **self.callbacks(),
        )

    def callbacks(self) -> dict[str, Any]:
        """Return what a mesh would add."""
        return {}

    def close(self) -> None:
        """Close the descriptors."""
        self.timer.close()
        self.outlet.pair.close()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """A driver with fakes around it."""
    made = Node(tmp_path, bytearray(2**17))
    yield made
    made.close()


def with_bob() -> DeviceChange:
    """Return the configuration of Alice, who knows Bob and where he is."""
    bob = PeerChange(
        BOB.public_key(),
        endpoint=Endpoint("192.0.2.2", 2),
        allowed_ips=[(True, Prefix.parse("10.0.0.2/32"))],
    )
    return DeviceChange(private_key=ALICE, peers=[bob])


def test_marks_are_durable_before_datagrams_leave(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First what must outlive us, then commands, ingress first, then datagrams."""
    real = node.marks.save

    def save(mark: bytes) -> None:
        real(mark)
        node.story.append("mark saved")

    monkeypatch.setattr(node.marks, "save", save)
    node.driver.configure(with_bob())
    node.driver.follow_link(mtu=1420, up=True)
    node.story.clear()
    node.driver.handle_reports([NeedSession(0)])
    assert node.story == ["mark saved", "datagrams"]
    assert len(node.outlet.sent[0].data) == 148


def test_ingress_hears_of_everything_first(node: Node) -> None:
    """It must know a session before egress provokes answers under it."""
    node.driver.configure(with_bob())
    assert node.story == ["commands to ingress", "commands to egress"]
    assert node.ingress.commands == node.egress.commands
    assert AddPeer(0) in node.egress.commands


def test_a_configuration_is_in_the_vault_before_the_reply(node: Node) -> None:
    """What was acknowledged outlives us."""
    node.driver.configure(with_bob())
    state = Vault(node.memory).load()
    assert state is not None
    assert state.private_key == ALICE
    assert [peer.public_key for peer in state.peers] == [BOB.public_key()]


def test_the_next_process_restores_it(node: Node, tmp_path: Path) -> None:
    """Status and table are those of the last one."""
    node.driver.configure(with_bob())
    node.driver.follow_link(mtu=1300, up=True)
    after = Node(tmp_path, node.memory)
    assert after.driver.restore()
    before = node.driver.status()
    assert after.driver.status() == before
    after.driver.follow_link(mtu=1300, up=True)
    after.driver.program(EGRESS, 5)
    commands = after.egress.commands
    assert commands[:3] == [
        Reset(5),
        SetIdentity(ALICE.public_key().raw),
        SetLink(1300, up=True),
    ]
    assert commands[-1] == ProgramComplete()
    after.close()


def test_an_empty_vault_restores_nothing(node: Node) -> None:
    """A first control process begins empty, on the port that is bound."""
    assert not node.driver.restore()
    assert node.driver.status().listen_port == node.outlet.pair.port


def test_timestamps_stay_above_those_of_an_earlier_run(
    node: Node, tmp_path: Path
) -> None:
    """The mark of a key on disk is found when the key is set."""
    mark = tai64n.encode(3_000_000_000, 0)
    earlier = TimestampMarks(tmp_path)
    earlier.follow(ALICE.public_key())
    earlier.save(mark)
    node.driver.configure(with_bob())
    node.driver.follow_link(mtu=1420, up=True)
    node.driver.handle_reports([NeedSession(0)])
    fresh = TimestampMarks(tmp_path)
    assert fresh.follow(ALICE.public_key()) > mark


def test_a_refused_change_changes_nothing(node: Node) -> None:
    """Neither the key that is followed nor what `wg` shows."""
    node.driver.configure(with_bob())
    before = node.driver.status()
    many = [PeerChange(ALICE.public_key()) for _ in range(1)]
    many += [PeerChange(type(many[0].public_key)(n.to_bytes(32))) for n in range(65537)]
    with pytest.raises(ConfigError):
        node.driver.configure(DeviceChange(private_key=BOB, peers=many))
    assert node.driver.status() == before


def test_what_cannot_be_kept_is_an_error_but_goes_on(tmp_path: Path) -> None:
    """A vault that is too small: the client hears of it, the device works."""
    node = Node(tmp_path, bytearray(256))
    with pytest.raises(HostError, match="outlive"):
        node.driver.configure(with_bob())
    assert AddPeer(0) in node.egress.commands
    node.close()


def test_a_full_disk_does_not_stop_handshakes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The mark cannot be saved: it is logged, and the datagram leaves."""
    node = Node(tmp_path / "state", bytearray(2**17))
    (tmp_path / "state").write_text("in the way")
    node.driver.configure(with_bob())
    node.driver.follow_link(mtu=1420, up=True)
    node.driver.handle_reports([NeedSession(0)])
    assert len(node.outlet.sent) == 1
    assert "cannot write" in caplog.text
    node.close()


def test_the_timer_follows_the_next_deadline(node: Node) -> None:
    """After a handshake message the retransmission is due, and then done."""
    node.driver.configure(with_bob())
    node.driver.follow_link(mtu=1420, up=True)
    node.driver.handle_reports([NeedSession(0)])
    assert node.driver.armed is not None
    assert 4.0 < node.driver.armed - boottime() < 6.0
    node.driver.handle_deadline()
    assert len(node.outlet.sent) == 1  # not due yet: nothing is sent twice


def test_a_new_worker_gets_the_table(node: Node) -> None:
    """And it is its generation that is meant, also when it is programmed again."""
    node.driver.configure(with_bob())
    node.driver.restart_worker(INGRESS, 9)
    assert node.ingress.commands[0] == Reset(9)
    assert AddPeer(0) in node.ingress.commands
    node.driver.reprogram(INGRESS)
    assert node.ingress.commands[0] == Reset(9)


def test_a_slow_clock_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """A mark far ahead of the clock means that the clock was set back."""
    warn_of_slow_clock(tai64n.encode(1_000_000_000, 0))
    assert caplog.text == ""
    warn_of_slow_clock(tai64n.encode(9_000_000_000, 0))
    assert "the clock is" in caplog.text


# --- a mesh above the engine ---

HERE = WirePath(Endpoint("192.0.2.7", 7))
INTRODUCTION = Datagram((7).to_bytes(4, "little") + bytes(90), HERE)


class NodeWithMesh(Node):
    """A node whose callbacks write into the story; `before_sending` may be changed."""

    def callbacks(self) -> dict[str, Any]:
        """Return the callbacks of a mesh."""
        self.before_sending: Callable[[], list[Datagram]] = list
        self.received: list[Datagram] = []
        self.carry: Callable[[Datagram], Datagram | None] = lambda datagram: datagram
        return {
            "introductions": lambda *what: self.story.append(("introduction", *what)),
            "probes": lambda *what: self.story.append(("probe", *what)),
            "on_event": lambda event: self.story.append(type(event).__name__),
            "before_sending": lambda: self.before_sending(),
            "take_received": self.take_received,
            "carry": lambda datagram: self.carry(datagram),
        }

    def take_received(self) -> list[Datagram]:
        """Return what came along with frames."""
        received, self.received = self.received, []
        return received


@pytest.fixture
def with_mesh(tmp_path: Path) -> Iterator[NodeWithMesh]:
    """A driver with fakes around it and above it."""
    made = NodeWithMesh(tmp_path, bytearray(2**17))
    yield made
    made.close()


def test_introductions_go_to_the_mesh(with_mesh: NodeWithMesh) -> None:
    """In the order of arrival among the handshakes, so that they come before."""
    driver = with_mesh.driver
    driver.receive([INTRODUCTION, Datagram(bytes(148), HERE)], queued=0)
    assert with_mesh.story == [("introduction", INTRODUCTION.data, HERE)]
    assert with_mesh.engine.drop_counts() == {DropReason.BAD_TYPE: 1}


def test_probes_go_to_the_mesh(with_mesh: NodeWithMesh, node: Node) -> None:
    """Without one they are of a type that nobody knows."""
    probe = Datagram(b"\6\0\0\0" + bytes(112), HERE)
    with_mesh.driver.receive([probe], queued=0)
    assert with_mesh.story == [("probe", probe.data, HERE)]
    node.driver.receive([probe], queued=0)
    assert node.engine.drop_counts() == {DropReason.BAD_TYPE: 1}


def test_without_a_mesh_introductions_are_counted(node: Node) -> None:
    """They are of a type that nobody knows."""
    node.driver.receive([INTRODUCTION], queued=0)
    assert node.engine.drop_counts() == {DropReason.BAD_TYPE: 1}


def test_what_the_mesh_sends_leaves_before_the_initiation(
    with_mesh: NodeWithMesh,
) -> None:
    """It hears of the handshake, and its datagrams are first on the wire."""
    with_mesh.driver.configure(with_bob())
    with_mesh.driver.follow_link(mtu=1420, up=True)

    def before_sending() -> list[Datagram]:
        with_mesh.story.append("asked")
        return [INTRODUCTION] if "HandshakeBegun" in with_mesh.story else []

    with_mesh.before_sending = before_sending
    with_mesh.story.clear()
    with_mesh.driver.handle_reports([NeedSession(0)])
    assert with_mesh.story == [
        "TimestampsReserved",
        "HandshakeBegun",
        "asked",
        "datagrams",
    ]
    assert [d.data[0] for d in with_mesh.outlet.sent] == [7, 1]


def test_what_came_along_with_a_frame_is_received(with_mesh: NodeWithMesh) -> None:
    """In the same step, and the mesh is asked again what follows from it."""
    asked: list[int] = []

    def before_sending() -> list[Datagram]:
        asked.append(len(with_mesh.received))
        return []

    with_mesh.before_sending = before_sending
    with_mesh.received = [INTRODUCTION]
    with_mesh.story.clear()
    with_mesh.driver.drain()
    assert ("introduction", INTRODUCTION.data, HERE) in with_mesh.story
    assert asked == [1, 0]


def test_the_mesh_says_what_goes_in_place_of_a_datagram(
    with_mesh: NodeWithMesh,
) -> None:
    """Another one, or nothing."""
    other = Datagram(b"relayed", HERE)
    kept = Datagram(b"kept", HERE)
    with_mesh.before_sending = lambda: [INTRODUCTION, kept]
    with_mesh.carry = lambda datagram: None if datagram is kept else other
    with_mesh.driver.drain()
    assert with_mesh.outlet.sent == [other]


def test_what_the_mesh_asks_of_the_engine_belongs_to_the_step(
    with_mesh: NodeWithMesh,
) -> None:
    """It is kept and forwarded before the step ends, and the mesh is asked again."""
    with_mesh.driver.configure(DeviceChange(private_key=ALICE))
    asked: list[str] = []

    def before_sending() -> list[Datagram]:
        asked.append("asked")
        if len(asked) == 1:
            with_mesh.engine.configure(with_bob(), now=boottime())
        return []

    with_mesh.before_sending = before_sending
    with_mesh.story.clear()
    with_mesh.driver.drain()
    assert with_mesh.story == [
        "PeerStateChanged",
        "PathChanged",
        "ConfigurationChanged",
        "commands to ingress",
        "commands to egress",
    ]
    assert len(asked) == 2
    kept = Vault(with_mesh.memory).load()
    assert kept is not None
    assert [peer.public_key for peer in kept.peers] == [BOB.public_key()]
