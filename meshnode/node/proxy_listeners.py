"""The listeners of a plan: opened, kept open, and changed while clients are served.

A listener that stays where it is keeps its clients when the plan changes; who comes
later is served as the new plan says. A place that cannot be had is tried again and
again, and said to be missing meanwhile.
"""

import ipaddress
import logging
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import trio

from meshnode.codec.proxy_link import (
    KEPT_SOCKET,
    MAX_TEXT_BYTES,
    OWN_SOCKET,
    Counters,
    PlannedListener,
    ProxyPlan,
)
from meshnode.errors import ConfigError, HostError, MeshnodeError
from meshnode.host.streams import open_listener, open_overlay_listener
from meshnode.proxy.listener_server import Listener, Speakers
from meshnode.types import Endpoint, Prefix

RETRY: Final = 5.0
"""Seconds until a place that cannot be had is tried again."""

_FIRST_RETRY: Final = 0.2
"""Seconds until it is said: who was there before may just be leaving."""

_log = logging.getLogger("meshnode.node")

Welcome = Callable[[str], bool]
SpeakersOf = Callable[[ProxyPlan, PlannedListener | None], Speakers]
"""Who serves a listener of a plan, or with None the service of an exit."""


@dataclass(slots=True)
class _Wanted:
    """One listener of a plan; *given* is its socket if control has bound it."""

    place: str
    open: Callable[[], socket.socket]
    speakers: Speakers
    is_welcome: Welcome
    given: socket.socket | None = None


@dataclass(slots=True)
class _Running:
    """A listener and its task; *listener* is None as long as it is not open."""

    wanted: _Wanted
    scope: trio.CancelScope
    listener: Listener | None = None
    problem: str = ""


class ListenerSet:
    """All listeners of a process.

    Args:
        nursery: where they run.
        speakers_of: says who serves; raises `ConfigError` if rules are none.
        on_problems: told what cannot be served, whenever that changes.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        speakers_of: SpeakersOf,
        on_problems: Callable[[tuple[str, ...]], None],
    ) -> None:
        self._nursery = nursery
        self._speakers_of = speakers_of
        self._on_problems = on_problems
        self._running: dict[str, _Running] = {}
        self._refused: list[str] = []

    def follow(self, plan: ProxyPlan, sockets: Sequence[socket.socket]) -> None:
        """Serve *plan* and nothing else; the *sockets* are ours from now on."""
        self._refused = []
        wanted = {one.place: one for one in self._wanted(plan, sockets)}
        for place, running in list(self._running.items()):
            given = wanted[place].given if place in wanted else None
            if place not in wanted or given is not None:
                running.scope.cancel()
                del self._running[place]
        for place, one in wanted.items():
            if place not in self._running:
                self._begin(one)
                continue
            running = self._running[place]
            running.wanted = one
            if running.listener is not None:
                running.listener.speakers = one.speakers
        used = {one.given for one in wanted.values()}
        for left in sockets:
            if left not in used:
                left.close()
        self._tell()

    def counters(self) -> tuple[Counters, ...]:
        """Return what each listener has carried."""
        return tuple(
            Counters(
                place,
                clients=seen.clients,
                total=seen.total,
                refused=seen.refused,
                sent=seen.sent,
                received=seen.received,
            )
            for place, running in self._running.items()
            if running.listener is not None
            for seen in [running.listener.seen()]
        )

    def _wanted(
        self, plan: ProxyPlan, sockets: Sequence[socket.socket]
    ) -> Iterator[_Wanted]:
        for listener in plan.listeners:
            try:
                speakers = self._speakers_of(plan, listener)
            except ConfigError as error:
                self._refused.append(f"{listener.place}: {error}")
                continue
            number = listener.socket
            if number >= len(sockets):
                self._refused.append(f"{listener.place}: its socket is missing")
                continue
            given = sockets[number] if number >= 0 else None
            opener = partial(_open, listener.place, number, given)
            yield _Wanted(listener.place, opener, speakers, lambda host: True, given)
        if plan.exit is not None:
            speakers = self._speakers_of(plan, None)
            is_member = _within(plan.overlay)
            for place in plan.exit.places:
                opener = partial(open_overlay_listener, place, plan.exit.device)
                yield _Wanted(str(place), opener, speakers, is_member)

    def _begin(self, wanted: _Wanted) -> None:
        running = _Running(wanted, trio.CancelScope())
        self._running[wanted.place] = running
        self._nursery.start_soon(self._keep, running)

    async def _keep(self, running: _Running) -> None:
        delay = _FIRST_RETRY
        given = running.wanted.given
        try:
            with running.scope:
                while True:
                    try:
                        opened = running.wanted.open()
                        break
                    except MeshnodeError as error:
                        if delay == RETRY:
                            self._note(running, str(error))
                    await trio.sleep(delay)
                    delay = RETRY
                given = None
                self._note(running, "")
                wanted = running.wanted
                _log.info("serving applications at %s", wanted.place)
                listening = trio.SocketListener(trio.socket.from_stdlib_socket(opened))
                running.listener = Listener(
                    listening, wanted.speakers, is_welcome=wanted.is_welcome
                )
                await running.listener.run()
        finally:
            if given is not None:
                given.close()

    def _note(self, running: _Running, problem: str) -> None:
        if problem != running.problem:
            running.problem = problem
            self._tell()

    def _tell(self) -> None:
        texts = list(self._refused)
        texts += [
            f"{place}: {running.problem}"
            for place, running in self._running.items()
            if running.problem
        ]
        self._on_problems(tuple(text[: MAX_TEXT_BYTES // 4] for text in texts))


def _open(place: str, number: int, given: socket.socket | None) -> socket.socket:
    if given is not None:
        return given
    if number == KEPT_SOCKET:
        raise HostError("its socket is gone: run meshnode reload")
    if number != OWN_SOCKET:
        raise HostError("its socket is missing")
    try:
        return open_listener(Endpoint.parse(place))
    except HostError as error:
        raise HostError(
            f"{error}: stop who has it, or give another listen", errno=error.errno
        ) from None


def _within(overlay: Sequence[Prefix]) -> Welcome:
    networks = [ipaddress.ip_network(str(prefix)) for prefix in overlay]

    def is_member(host: str) -> bool:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in networks)

    return is_member
