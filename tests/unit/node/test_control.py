"""A whole control process, in this one, over real descriptors."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio

from meshnode.codec.forwarding import decode_command, encode_report
from meshnode.codec.lifeline import Begin, Ready, decode_from_control, encode
from meshnode.codec.tap import tap_bytes
from meshnode.dataplane.traffic import table_bytes
from meshnode.forwarding import ProgramComplete, Reset, SessionsHeld
from meshnode.host.channels import send_with_fds, seqpacket_pair
from meshnode.host.journal import Journal, open_journal
from meshnode.host.memory import create_shared
from meshnode.node import control as module
from meshnode.node.control import Control, run_control
from meshnode.node.control_lifeline import SupervisorGoneError
from meshnode.node.shared import VAULT_BYTES, counters_bytes
from meshnode.node.tasks import NO_DESCRIPTOR, ControlTask
from meshnode.node.uapi_listener import listen_uapi
from tests.unit.node.test_outlet import unbound_pair


class Surroundings:
    """What a supervisor keeps for control, and the other ends of its links."""

    def __init__(self, directory: Path, *, parent: int) -> None:
        self.journal = open_journal("wg0", directory / "run")
        self.path = directory / "wg0.sock"
        pairs = [seqpacket_pair(buffer_bytes=2**18) for _ in range(4)]
        self.lifeline, self.egress, self.ingress, self.handshakes = (
            ours for ours, _ in pairs
        )
        uapi = listen_uapi(self.path, self.journal)
        self.task = ControlTask(
            interface="wg0",
            log_level="debug",
            parent=parent,
            network="",
            config_dir=directory / "config",
            state_dir=directory / "state",
            run_dir=directory / "run",
            uapi_dir=directory / "uapi",
            journal_path=self.journal.path,
            journal_fd=os.dup(self.journal.fileno()),
            lifeline_fd=pairs[0][1].detach(),
            egress_fds=(pairs[1][1].detach(),),
            ingress_fds=(pairs[2][1].detach(),),
            handshakes_fd=pairs[3][1].detach(),
            traffic_fd=create_shared("traffic", table_bytes(1)),
            counters_fd=create_shared("counters", counters_bytes(1)),
            sessions_fd=NO_DESCRIPTOR,
            tap_fd=create_shared("tap", tap_bytes(1)),
            vault_fd=create_shared("vault", VAULT_BYTES),
            uapi_fd=uapi.detach(),
            api_fd=NO_DESCRIPTOR,
            udp4_fds=(unbound_pair().v4.detach(),),
            udp6_fds=(),
            beside_fds=(),
            tls_fd=NO_DESCRIPTOR,
            tls_problem="",
            proxy_fd=NO_DESCRIPTOR,
            carrier_fd=NO_DESCRIPTOR,
        )

    def begin(self) -> None:
        """Say how things stand, and answer as fresh workers would."""
        send_with_fds(self.lifeline, encode(Begin((1,), (2,), 1420, up=True)))
        for worker in (self.egress, self.ingress):
            worker.send(encode_report(SessionsHeld((), last=True)))

    def close(self) -> None:
        """Close what is ours; control's own goes with its sockets."""
        for end in (self.lifeline, self.egress, self.ingress, self.handshakes):
            end.close()
        for fd in (self.task.traffic_fd, self.task.vault_fd, self.task.journal_fd):
            os.close(fd)
        self.journal.close()


@pytest.fixture
def around(tmp_path: Path) -> Iterator[Surroundings]:
    """A supervisor that is this process."""
    made = Surroundings(tmp_path, parent=os.getppid())
    yield made
    made.close()


async def receive(end: socket.socket) -> bytes:
    """Receive one message."""
    await trio.lowlevel.wait_readable(end)
    return end.recv(65536)


async def test_it_programs_the_workers_and_serves(
    around: Surroundings, nursery: trio.Nursery
) -> None:
    """Sockets and table go out, ready is told, and `get` is answered."""
    around.begin()
    control = Control(around.task)
    nursery.start_soon(control.run)
    with trio.fail_after(30):
        assert decode_from_control(await receive(around.lifeline)) == Ready()
        for worker, generation in ((around.egress, 1), (around.ingress, 2)):
            assert await receive(worker) == b"sockets"
            commands = []
            while ProgramComplete() not in commands:
                commands.append(decode_command(await receive(worker)))
            assert Reset(generation) in commands
        client = await trio.open_unix_socket(around.path)
        await client.send_all(b"get=1\n\n")
        assert b"errno=0" in await client.receive_some()
        await client.aclose()
    nursery.cancel_scope.cancel()
    control.close()


async def test_the_end_of_the_lifeline_ends_it(around: Surroundings) -> None:
    """Without a supervisor there is nothing to serve."""
    around.begin()
    around.lifeline.shutdown(socket.SHUT_WR)
    with (
        closing(Control(around.task)) as control,
        trio.fail_after(30),
        pytest.raises(BaseExceptionGroup) as raised,
    ):
        await control.run()
    assert raised.group_contains(SupervisorGoneError)


def test_sigterm_ends_it_with_exit_code_zero(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An orderly end undoes nothing: that is for the supervisor, which lives."""
    before = signal.getsignal(signal.SIGTERM)
    around.begin()

    def end() -> None:
        around.lifeline.setblocking(True)
        around.lifeline.recv(99)  # ready
        os.kill(os.getpid(), signal.SIGTERM)

    helper = threading.Thread(target=end)
    helper.start()
    try:
        assert run_control(around.task) == 0
    finally:
        helper.join()
        signal.signal(signal.SIGTERM, before)
    assert around.path.exists()


def test_an_orphan_cleans_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the supervisor's death the journal is undone: the socket file goes."""
    before = signal.getsignal(signal.SIGTERM)
    around = Surroundings(tmp_path, parent=2**22 + 1)
    around.lifeline.shutdown(socket.SHUT_WR)
    try:
        assert run_control(around.task) == 0
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not around.path.exists()
    assert list((tmp_path / "run").iterdir()) == []
    around.close()


def test_a_supervisor_that_lives_is_not_cleaned_up_after(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it only let go of us, its socket file is none of our business."""
    monkeypatch.setattr(module, "_PARENT_TIMEOUT", 0.05)

    def fail(journal: Journal) -> Any:
        pytest.fail("undone under a living supervisor")

    monkeypatch.setattr(Journal, "undo_all", fail)
    before = signal.getsignal(signal.SIGTERM)
    around.lifeline.shutdown(socket.SHUT_WR)
    try:
        assert run_control(around.task) == 0
    finally:
        signal.signal(signal.SIGTERM, before)
    assert around.path.exists()
