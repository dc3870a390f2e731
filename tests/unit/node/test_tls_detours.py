"""Control's end of TLS: what the process is told, and what the node makes of it."""

import os
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from meshnode.codec.tls_link import (
    MAX_ATTEMPTS,
    MAX_MESSAGE_BYTES,
    Connected,
    ControlMessage,
    Dial,
    HangUp,
    Lost,
    Proof,
    Prove,
    Setup,
    Started,
    TlsMessage,
    decode_from_control,
    encode,
)
from meshnode.host.channels import recv_with_fds, send_with_fds, seqpacket_pair
from meshnode.host.clock import boottime
from meshnode.manage.config_values import TlsSettings
from meshnode.mesh.tls_proof import Challenge
from meshnode.node.tls_detours import TlsDetours
from meshnode.types import Endpoint
from tests.unit.node.shell_parts import Shell
from tests.unit.node.tls_parts import KEY

HOST = "192.0.2.1"


class Scene:
    """A founder's shell with one contact, and the process's end of the link."""

    def __init__(
        self, rng: random.Random, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.shell = Shell(rng, path, monkeypatch)
        self.shell.start()
        self.node = self.shell.shell.node
        self.wanted: list[int] = []
        self.link, theirs = seqpacket_pair(buffer_bytes=2**16)
        self.detours = TlsDetours(
            self.shell.shell,
            theirs,
            TlsSettings(port=8443),
            port=51820,
            fwmark=0,
            want_process=lambda: self.wanted.append(1),
        )

    def suspect(self) -> None:
        """Let the contact be asked, and nothing be heard by UDP."""
        now, wall = boottime(), 0.0
        self.node.set_contacts({KEY: (Endpoint(HOST, 51820),)}, now=now, wall=wall)
        watch = self.node.detours.watch
        watch.asked(KEY, now=now - 10.0)
        watch.handle_deadline(now=now)
        self.shell.shell.drain()

    def say(self, message: TlsMessage) -> None:
        """Be the process."""
        assert send_with_fds(self.link, encode(message))

    async def hear(self) -> ControlMessage:
        """Return what the process is told next."""
        with trio.fail_after(10):
            while True:
                await trio.lowlevel.wait_readable(self.link)
                received = recv_with_fds(
                    self.link, max_bytes=MAX_MESSAGE_BYTES, max_fds=MAX_ATTEMPTS
                )
                if received is not None:
                    break
        message = decode_from_control(received[0])
        attempts = len(message.attempts) if isinstance(message, Dial) else 0
        assert len(received[1]) == attempts
        for descriptor in received[1]:
            with socket.socket(fileno=descriptor) as one:
                assert one.type == socket.SOCK_STREAM
        return message

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run control's end, and see it begin."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.detours.run)
            assert await self.hear() == Setup(51820)
            yield
            nursery.cancel_scope.cancel()
        self.link.close()
        self.shell.close()


@pytest.fixture
def scene(rng: random.Random, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """UDP is not suspected yet."""
    return Scene(rng, tmp_path, monkeypatch)


async def test_dialled_reached_and_left(scene: Scene) -> None:
    """The process is asked for; the node speaks to the local endpoint meanwhile."""
    async with scene.running():
        assert scene.wanted == []
        scene.suspect()
        dial = await scene.hear()
        assert isinstance(dial, Dial)
        assert [str(one.target) for one in dial.attempts] == [f"{HOST}:8443"]
        assert scene.wanted == [1]
        scene.say(Connected(KEY, 40000))
        await trio.testing.wait_all_tasks_blocked(0.05)
        detour = Endpoint("127.0.0.1", 40000)
        dialler = scene.node.reach.dialler
        assert dialler.candidates_of(KEY, now=boottime())[0] == detour
        scene.node.detours.watch._leave()
        scene.shell.shell.drain()
        assert await scene.hear() == HangUp(KEY)
        assert detour not in dialler.candidates_of(KEY, now=boottime())


async def test_process_that_begins_anew_is_told_all(scene: Scene) -> None:
    """At once, and the node is not disturbed."""
    async with scene.running():
        scene.suspect()
        first = await scene.hear()
        scene.say(Started())
        assert await scene.hear() == Setup(51820)
        assert await scene.hear() == first


async def test_an_impostor_is_complained_of(scene: Scene) -> None:
    """In one line; somebody who is only silent is not."""
    async with scene.running():
        scene.suspect()
        await scene.hear()
        scene.say(Lost(KEY, f"{HOST}:8443: it does not prove", is_impostor=True))
        await trio.testing.wait_all_tasks_blocked(0.05)
        [line] = scene.node.health.values()
        assert line.endswith(f"by TLS: {HOST}:8443: it does not prove")
        assert scene.node.detours.watch.wanted == ()


async def test_challenges_are_answered(scene: Scene) -> None:
    """With our key, and only if they are for us."""
    async with scene.running():
        challenge = Challenge(scene.node.key, os.urandom)
        scene.say(Prove(7, challenge.sealed, bytes(32)))
        proof = await scene.hear()
        assert isinstance(proof, Proof)
        challenge.check(bytes(32), proof.proof)
        scene.say(Prove(8, Challenge(KEY, os.urandom).sealed, bytes(32)))
        assert await scene.hear() == Proof(8, b"")
