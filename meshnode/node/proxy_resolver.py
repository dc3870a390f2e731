"""The resolver of a plan: its sockets, the names it knows, and whom it asks."""

import logging
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Final

import trio

from meshnode.codec.proxy_link import PlannedResolver, ProxyPlan
from meshnode.errors import HostError
from meshnode.host.streams import open_overlay_datagrams, open_overlay_listener
from meshnode.names.dns_server import Address, OnAnswer, serve_names
from meshnode.names.forwarder import Forwarder
from meshnode.names.table import Member, NameTable
from meshnode.types import Endpoint

RETRY: Final = 5.0
"""Seconds until a place that cannot be had is tried again."""

_log = logging.getLogger("meshnode.node")


async def _learn_nothing(name: str, addresses: Sequence[Address], ttl: int) -> None:
    """Stand for who is told of answers where nobody is."""


class PlannedNames:
    """Answers for the names of the plan that it follows.

    Args:
        nursery: where it runs.
        on_problem: told why nobody is answered, "" when that is over.
        learn: awaited with what a name means if the plan wants that.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        on_problem: Callable[[str], None],
        learn: OnAnswer = _learn_nothing,
    ) -> None:
        self._nursery = nursery
        self._on_problem = on_problem
        self._learn = learn
        self._plan: PlannedResolver | None = None
        self._table: NameTable | None = None
        self._scope = trio.CancelScope()

    def follow(self, plan: ProxyPlan) -> None:
        """Answer as *plan* says; sockets that stay where they are stay open."""
        before, self._plan = self._plan, plan.resolver
        if self._plan is not None:
            self._table = _table_of(plan, self._plan.own)
        if _places(before) == _places(self._plan):
            return
        self._scope.cancel()
        self._on_problem("")
        if self._plan is not None:
            self._scope = trio.CancelScope()
            self._nursery.start_soon(self._keep, self._plan.places, self._scope)

    async def _keep(self, places: Sequence[Endpoint], scope: trio.CancelScope) -> None:
        with scope, ExitStack() as stack:
            while True:
                try:
                    opened = _open(places, stack)
                    break
                except HostError as error:
                    self._on_problem(
                        f"names of members are not answered: {error}: stop who has it, "
                        "or set resolver = false in the table [dns]"
                    )
                await trio.sleep(RETRY)
            self._on_problem("")
            udp, tcp = opened
            _log.info("answering for names at %s", ", ".join(map(str, places)))
            await serve_names(
                udp,
                tcp,
                table=self._names,
                forwarder=Forwarder(self._upstream),
                on_answer=self._on_answer,
            )

    async def _on_answer(
        self, name: str, addresses: Sequence[Address], seconds: int
    ) -> None:
        if self._plan is not None and self._plan.learns:
            await self._learn(name, addresses, seconds)

    def _names(self) -> NameTable:
        assert self._table is not None
        return self._table

    def _upstream(self) -> Sequence[Endpoint]:
        return () if self._plan is None else self._plan.upstream


def _places(plan: PlannedResolver | None) -> tuple[Endpoint, ...]:
    return () if plan is None else plan.places


def _open(
    places: Sequence[Endpoint], stack: ExitStack
) -> tuple[list[trio.socket.SocketType], list[trio.SocketListener]]:
    """Open everything or nothing; what is open is closed with *stack*."""
    with ExitStack() as trying:
        udp, tcp = [], []
        for place in places:
            one = _adopt(open_overlay_datagrams(place), trying)
            udp.append(one)
            other = _adopt(open_overlay_listener(place), trying)
            tcp.append(trio.SocketListener(other))
        stack.push(trying.pop_all())
    return udp, tcp


def _adopt(plain: socket.socket, stack: ExitStack) -> trio.socket.SocketType:
    one = trio.socket.from_stdlib_socket(plain)
    stack.callback(one.close)
    return one


def _table_of(plan: ProxyPlan, own: str) -> NameTable:
    cidr, ula = plan.overlay
    members = [Member(one.name, one.ipv4, one.ipv6) for one in plan.members]
    return NameTable(plan.network, own, cidr=cidr, ula=ula, members=members)
