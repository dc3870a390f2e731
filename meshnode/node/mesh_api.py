"""What commands can ask the node of a network: the verbs of its control socket.

Every verb is one function of its arguments; a change is carried out, and kept on
disk, before its reply leaves.
"""

import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import trio

from meshnode.errors import MeshnodeError
from meshnode.host.clock import boottime
from meshnode.manage.api_protocol import Request
from meshnode.manage.api_server import EventStream
from meshnode.manage.metrics import node_metrics
from meshnode.manage.toml_reader import Table, text
from meshnode.mesh.describe import (
    complaints,
    count_paths,
    describe_event,
    describe_path,
    describe_peers,
    describe_routes,
    describe_status,
    find_member,
    shown_endpoint,
)
from meshnode.mesh.events import MeshEvent
from meshnode.mesh.exit_view import describe_exit
from meshnode.mesh.pings import Answer
from meshnode.node.host_names import HostNames
from meshnode.node.mesh_admin import MeshAdmin, NoSuchMemberError
from meshnode.node.mesh_capture import MeshCapture
from meshnode.node.mesh_diagnosis import MeshDiagnosis
from meshnode.node.mesh_names import MeshNames
from meshnode.node.mesh_papers import MeshPapers
from meshnode.node.mesh_shell import MeshShell
from meshnode.node.mesh_steer import MeshSteer
from meshnode.node.mesh_trace import MeshTrace
from meshnode.wireguard.config import DeviceStatus

_MAX_PING: Final = 60.0

Answered = Mapping[str, object] | EventStream
Verb = Callable[[Table], Awaitable[Answered]]


class MeshApi:
    """Answers the requests of the control socket; a `manage.api_server.Handler`.

    Args:
        shell: the mesh.
        admin: what only an issuer or an administrator decides.
        device: gives the state of the interface.
        facts: what never changes while this process lives: interface, engine, MTU.
        drops: gives the packets dropped by the workers, by reason.
        offloads: gives how the workers' offloads stand, by key.
        mappings: gives the routers that were asked for our port.
        steering: answers about the rules by which this host's traffic is steered.
        reload: reads the configuration again, and returns what needs a restart.
        capture: lends the tap.
        proxies: the verbs that are about listeners for applications.
        names: how this host finds members by name.
    """

    def __init__(
        self,
        shell: MeshShell,
        *,
        admin: MeshAdmin,
        device: Callable[[], DeviceStatus],
        facts: Mapping[str, object],
        drops: Callable[[], dict[str, int]],
        offloads: Callable[[], Mapping[str, object]],
        mappings: Callable[[], list[dict[str, Any]]],
        steering: MeshSteer,
        reload: Callable[[], Awaitable[list[str]]],
        capture: MeshCapture,
        proxies: Mapping[str, Verb],
        names: HostNames,
    ) -> None:
        self._shell = shell
        self._device = device
        self._facts = facts
        self._drops = drops
        self._offloads = offloads
        self._mappings = mappings
        self._reload = reload
        self._names = names
        self._verbs: dict[str, Verb] = {
            "hello": self._hello,
            "status": self._status,
            "peers": self._peers,
            "routes": self._routes,
            "exit": self._exit,
            "ping": self._ping,
            "watch": self._watch,
            "metrics": self._metrics,
            "reload": self._read_again,
            "stop": self._stop,
            **admin.verbs(),
            **MeshTrace(shell, device, steering.trace).verbs(),
            **steering.verbs(),
            **MeshDiagnosis(shell, device, mappings).verbs(),
            **MeshPapers(shell).verbs(),
            **capture.verbs(),
            **proxies,
            **MeshNames(names).verbs(),
        }

    async def handle(self, request: Request) -> Answered:
        """Answer *request*; raises a `MeshnodeError` if it cannot be."""
        verb = self._verbs.get(request.verb)
        if verb is None:
            raise MeshnodeError(
                f"the node knows no {request.verb!r}: it is of another version than "
                "the command; restart it"
            )
        return await verb(Table(request.args, request.verb))

    async def _hello(self, args: Table) -> Answered:
        args.finish()
        return {
            "isReady": self._shell.is_ready,
            "isInTouch": self._shell.node.is_in_touch,
            **self._facts,
        }

    async def _status(self, args: Table) -> Answered:
        args.finish()
        return self.status()

    def status(self) -> dict[str, Any]:
        """Return everything `meshnode status` shows."""
        self._shell.judge_sessions()
        device = self._device()
        node = self._shell.node
        return {
            **describe_status(node, wall=time.time()),
            **self._facts,
            "isReady": self._shell.is_ready,
            "port": device.listen_port,
            "paths": count_paths(node),
            "sessions": sum(node.has_session(p.public_key.raw) for p in device.peers),
            "receivedBytes": sum(peer.received_bytes for peer in device.peers),
            "sentBytes": sum(peer.sent_bytes for peer in device.peers),
            "drops": self._drops(),
            "offload": self._offloads(),
            "portMappings": self._mappings(),
            "dns": self._names.describe(),
        }

    async def _peers(self, args: Table) -> Answered:
        args.finish()
        return {"peers": self.peers(), "mtu": self._facts["mtu"]}

    def peers(self) -> list[dict[str, Any]]:
        """Return everything `meshnode peers` shows."""
        self._shell.judge_sessions()
        wireguard = {peer.public_key.raw: peer for peer in self._device().peers}
        return describe_peers(
            self._shell.node, wireguard, now=boottime(), wall=time.time()
        )

    async def _routes(self, args: Table) -> Answered:
        args.finish()
        return {"routes": describe_routes(self._shell.node)}

    async def _exit(self, args: Table) -> Answered:
        args.finish()
        node = self._shell.node
        return {
            **describe_exit(node.roads, node.owners.unhealthy),
            "isInForce": self._shell.is_tunnel_as_wanted,
            "health": complaints(node, wall=time.time()),
        }

    async def _ping(self, args: Table) -> Answered:
        name = args.get("peer", text, None)
        timeout = args.get("timeout", _seconds, 5.0)
        args.finish()
        member = find_member(self._shell.node, name)
        if member is None:
            raise NoSuchMemberError(f"no member {name!r}; see: meshnode peers")
        if member.key == self._shell.node.key:
            raise NoSuchMemberError(f"{name} is this node itself")
        answered = trio.Event()
        answers: list[Answer] = []

        def take(answer: Answer) -> None:
            answers.append(answer)
            answered.set()

        self._shell.ping(member.key, timeout=timeout, on_answer=take)
        await answered.wait()
        answer = answers[0]
        v4, v6 = (str(one).partition("/")[0] for one in member.addresses)
        path = describe_path(
            self._shell.node, member.key, now=boottime(), wall=time.time()
        )
        return {
            "name": member.certificate.name,
            "ipv4": v4,
            "ipv6": v6,
            "seconds": answer.seconds,
            "endpoint": shown_endpoint(answer.endpoint),
            "path": path,
        }

    async def _metrics(self, args: Table) -> Answered:
        args.finish()
        return {"text": node_metrics(self.status(), self.peers())}

    async def _watch(self, args: Table) -> Answered:
        args.finish()
        stream = EventStream()

        def tell(event: MeshEvent) -> None:
            if stream.is_closed:
                self._shell.unwatch(number)
                return
            at = round(time.time(), 3)
            stream.send({"at": at, **describe_event(event)})

        number = self._shell.watch(tell)
        return stream

    async def _read_again(self, args: Table) -> Answered:
        args.finish()
        return {"restartNeeded": await self._reload()}

    async def _stop(self, args: Table) -> Answered:
        args.finish()
        # The supervisor ends everything, ourselves included, after the reply left.
        trio.lowlevel.spawn_system_task(_stop_soon, os.getppid())
        return dict(self._facts)


async def _stop_soon(supervisor: int) -> None:
    await trio.sleep(0.05)
    # Were it dead, our parent would be somebody else's.
    if os.getppid() == supervisor:
        os.kill(supervisor, signal.SIGTERM)


def _seconds(value: object) -> float:
    if type(value) not in (int, float) or not 0.0 < float(value) <= _MAX_PING:  # type: ignore[arg-type]
        raise ValueError(f"is not a number of seconds up to {_MAX_PING:g}")
    return float(value)  # type: ignore[arg-type]
