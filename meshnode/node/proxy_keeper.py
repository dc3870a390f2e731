"""Control's end of the proxies: tells the process what to serve, and again on changes.

The process is asked for when the configuration wants something of it. Unix sockets are
bound here, where root may, and handed over: their files are in the journal, and go with
the node. We keep our end of them, so that clients find the process after one that died;
a control process after us finds them served, and leaves them alone.
"""

import ipaddress
import logging
import socket
import stat
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import trio

from meshnode.codec.proxy_link import (
    MAX_MESSAGE_BYTES,
    Ask,
    ControlMessage,
    Counters,
    Counts,
    Learn,
    Learnt,
    Problems,
    ProxyMessage,
    ProxyPlan,
    Setup,
    Started,
    decode_from_proxy,
    encode,
    encode_plan,
)
from meshnode.errors import CodecError, HostError, MeshnodeError
from meshnode.host.addresses import every_address
from meshnode.host.changes import RemoveSocket
from meshnode.host.channels import discard_messages, recv_with_fds, send_with_fds
from meshnode.host.journal import Journal
from meshnode.host.memory import create_sealed
from meshnode.host.resolv_conf import PATH as RESOLV_CONF
from meshnode.host.resolv_conf import own_resolvers
from meshnode.manage.config_values import NetworkConfig
from meshnode.manage.proxy_text import ProxyListener
from meshnode.manage.toml_reader import Table
from meshnode.mesh.events import HealthChanged, MeshEvent, PeerDown, PeerUp
from meshnode.node.mesh_shell import MeshShell
from meshnode.node.proxy_plan import Facts, make_plan
from meshnode.node.uapi_listener import listen_uapi
from meshnode.types import Endpoint

SETTLE: Final = 0.3
"""Seconds that changes are gathered: members come in crowds."""

RETRY: Final = 5.0
"""Seconds until what could not be said is tried again."""

ANSWER_TIMEOUT: Final = 5.0
_SUBJECT: Final = "proxy"
_IDLE_EVENTS: Final = (HealthChanged, PeerUp, PeerDown)
"""What happens often and changes nothing of a plan."""

_MAX_LEARNING: Final = 256
"""Answers that wait to be learnt at once."""

Learner = Callable[[str, Sequence[str], int], Awaitable[None]]
"""Takes a name, its addresses, and for how many seconds they hold."""

_log = logging.getLogger("meshnode.node")


async def _learn_nothing(name: str, addresses: Sequence[str], ttl: int) -> None:
    """Stand for who is told of answers where nobody is."""


class ProxyKeeper:
    """Keeps the proxy process of the node of *shell*.

    Args:
        shell: the mesh.
        link: to the process; ours.
        journal: where the files of Unix sockets are written down.
        config: gives the configuration that is in force.
        interface: the overlay's.
        want_process: lets the process be started.
    """

    def __init__(
        self,
        shell: MeshShell,
        link: socket.socket,
        journal: Journal,
        *,
        config: Callable[[], NetworkConfig],
        interface: str,
        want_process: Callable[[], None],
        learn: Learner = _learn_nothing,
    ) -> None:
        self._shell = shell
        self._link = link
        self._journal = journal
        self._config = config
        self._interface = interface
        self._want_process = want_process
        self._learn = learn
        self._to_learn, self._learning = trio.open_memory_channel[Learn](_MAX_LEARNING)
        self._has_changed = trio.Event()
        self._told: ProxyPlan | None = None
        self._handed: frozenset[str] = frozenset()
        self._sockets: dict[str, socket.socket | None] = {}
        self._problems: dict[str, tuple[str, ...]] = {}
        self._number = 0
        self._asked: dict[int, trio.MemorySendChannel[tuple[Counters, ...]]] = {}

    def look(self) -> None:
        """Something may be different: configuration, addresses, users."""
        self._has_changed.set()

    def verbs(self) -> dict[str, Callable[[Table], Any]]:
        """Return the verbs of the control socket that are answered here."""
        return {"proxy list": self._list}

    async def run(self) -> None:
        """Follow configuration, mesh and process until cancelled."""
        watcher = self._shell.watch(self._take_event)
        try:
            with self._link:
                # What was meant for the control process before us.
                discard_messages(self._link, max_bytes=MAX_MESSAGE_BYTES)
                self.look()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._hear)
                    nursery.start_soon(self._follow)
                    nursery.start_soon(self._learn_all)
        finally:
            self._shell.unwatch(watcher)
            for one in self._sockets.values():
                if one is not None:
                    one.close()

    async def _learn_all(self) -> None:
        async for one in self._learning:
            await self._learn(one.name, one.addresses, one.ttl)
            with suppress(HostError):
                self._say(Learnt(one.number), [])

    def _take_event(self, event: MeshEvent) -> None:
        if not isinstance(event, _IDLE_EVENTS):
            self.look()

    async def _follow(self) -> None:
        while True:
            await self._has_changed.wait()
            self._has_changed = trio.Event()
            try:
                await self._tell()
            except (CodecError, MeshnodeError, OSError) as error:
                self._note("plan", (str(error),))
                await trio.sleep(RETRY)
                self.look()
            await trio.sleep(SETTLE)

    async def _tell(self) -> None:
        """Say what is to be served, if that is not what was said."""
        config = self._config()
        is_wanted = config.proxies or config.exit.offer or config.dns.resolver
        if self._told is None and not is_wanted:
            return  # nobody ever asked for it
        own: Sequence[str] = ()
        resolvers: tuple[Endpoint, ...] = ()
        if config.exit.offer:
            own = await trio.to_thread.run_sync(every_address)
            resolvers = await trio.to_thread.run_sync(_resolvers, own)
        problems = self._bind(config.proxies)
        facts = Facts(self._interface, tuple(own), frozenset(self._sockets), resolvers)
        plan, missing = make_plan(config, self._shell.node, facts)
        self._note("plan", (*problems, *missing))
        fresh = [place for place in self._sockets if place not in self._handed]
        if plan == self._told and not fresh:
            return
        self._say_plan(plan, fresh)
        self._told, self._handed = plan, frozenset(self._sockets)
        if plan.listeners or plan.exit is not None or plan.resolver is not None:
            self._want_process()

    def _say_plan(self, plan: ProxyPlan, fresh: list[str]) -> None:
        """Send *plan* with the Unix sockets of the places *fresh*."""
        sockets = {place: one for place in fresh if (one := self._sockets[place])}
        numbers = {place: number for number, place in enumerate(sockets)}
        listeners = tuple(
            replace(one, socket=numbers.get(one.place, one.socket))
            for one in plan.listeners
        )
        data = encode_plan(replace(plan, listeners=listeners))
        memory = create_sealed("meshnode-proxy", data)
        with open(memory, "rb") as sealed:
            descriptors = [one.fileno() for one in sockets.values()]
            self._say(Setup(len(data)), [sealed.fileno(), *descriptors])

    # --- Unix sockets ---

    def _bind(self, listeners: tuple[ProxyListener, ...]) -> list[str]:
        """Have a socket for each path that is wanted, and no other; say what fails."""
        wanted = {one.place: one for one in listeners if isinstance(one.listen, Path)}
        for place in [place for place in self._sockets if place not in wanted]:
            self._unbind(place)
        problems = []
        for place, listener in wanted.items():
            try:
                if place not in self._sockets:
                    self._sockets[place] = self._bind_one(listener)
                _set_mode(listener)
            except HostError as error:
                problems.append(f"{place}: {error}")
        return problems

    def _bind_one(self, listener: ProxyListener) -> socket.socket | None:
        """Return the socket; None if the process has it from a control before us."""
        path = listener.listen
        assert isinstance(path, Path)
        is_ours = RemoveSocket(str(path)) in self._journal.pending()
        try:
            return listen_uapi(path, self._journal)
        except HostError:
            if is_ours:
                return None
            raise

    def _unbind(self, place: str) -> None:
        self._handed -= {place}
        one = self._sockets.pop(place)
        if one is not None:
            one.close()
        # The process closes its end; a file that nobody answers would only mislead.
        with suppress(OSError):
            Path(place.removeprefix("unix:")).unlink()

    # --- the process ---

    async def _hear(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._link)
            received = recv_with_fds(self._link, max_bytes=MAX_MESSAGE_BYTES)
            if received is None:
                continue
            try:
                self._take(decode_from_proxy(received[0]))
            except CodecError as error:
                _log.error("the proxy process sent nonsense: %s", error)

    def _take(self, message: ProxyMessage) -> None:
        match message:
            case Started():
                # What the one before it was handed is gone with it.
                kept = [place for place, one in self._sockets.items() if one is None]
                for place in kept:
                    del self._sockets[place]
                self._told, self._handed = None, frozenset()
                self.look()
            case Problems(texts):
                self._note("process", texts)
            case Learn() as answer:
                with suppress(trio.WouldBlock):  # it then leaves as it is, and late
                    self._to_learn.send_nowait(answer)
            case Counts(number, listeners):
                waiting = self._asked.get(number)
                if waiting is not None:
                    waiting.send_nowait(listeners)

    def _say(self, message: ControlMessage, descriptors: list[int]) -> None:
        if not send_with_fds(self._link, encode(message), descriptors):
            raise HostError("the proxy process does not listen; it is told later")

    def _note(self, who: str, texts: tuple[str, ...]) -> None:
        self._problems[who] = texts
        every = [text for known in self._problems.values() for text in known]
        self._shell.complain(_SUBJECT, "; ".join(dict.fromkeys(every)))

    # --- for the API ---

    async def _list(self, args: Table) -> dict[str, object]:
        args.finish()
        counts = {one.place: one for one in await self._counts()}
        listeners = self._told.listeners if self._told is not None else ()
        exit_service = self._told.exit if self._told is not None else None
        places = [(one.place, one.kind) for one in listeners]
        if exit_service is not None:
            places += [(str(one), "exit") for one in exit_service.places]
        exits = {one.place: list(one.exit) for one in self._config().proxies}
        return {
            "listeners": [
                {
                    "listen": place,
                    "kind": kind,
                    "exit": exits.get(place, []),
                    **_shown(counts.get(place)),
                }
                for place, kind in places
            ],
            "problems": [text for known in self._problems.values() for text in known],
        }

    async def _counts(self) -> tuple[Counters, ...]:
        """Ask the process; nothing if it does not answer, or does not run."""
        if self._told is None:
            return ()
        self._number = (self._number + 1) % 2**32
        number = self._number
        sending, receiving = trio.open_memory_channel[tuple[Counters, ...]](1)
        self._asked[number] = sending
        try:
            self._say(Ask(number), [])
            with trio.move_on_after(ANSWER_TIMEOUT):
                return await receiving.receive()
            return ()
        finally:
            del self._asked[number]


def _resolvers(own: Sequence[str]) -> tuple[Endpoint, ...]:
    """Return whom this host asks for names, but for itself."""
    try:
        text = Path(RESOLV_CONF).read_text(errors="replace")
    except OSError as error:
        _log.warning("%s: %s", RESOLV_CONF, error.strerror)
        return ()
    ours = [one for one in own if not ipaddress.ip_address(one).is_loopback]
    return own_resolvers(text, without=ours)


def _set_mode(listener: ProxyListener) -> None:
    """Give the file of a Unix socket the mode that is configured."""
    path, mode = listener.listen, int(listener.mode, 8)
    assert isinstance(path, Path)
    try:
        if stat.S_IMODE(path.lstat().st_mode) != mode:
            path.chmod(mode)
    except OSError as error:
        raise HostError(f"cannot change its mode: {error.strerror}") from error


def _shown(counters: Counters | None) -> dict[str, object]:
    """Return what `proxy list` tells of a listener; None is one that is not open."""
    return {
        "isOpen": counters is not None,
        "clients": 0 if counters is None else counters.clients,
        "totalClients": 0 if counters is None else counters.total,
        "refusedClients": 0 if counters is None else counters.refused,
        "sentBytes": 0 if counters is None else counters.sent,
        "receivedBytes": 0 if counters is None else counters.received,
    }
