"""The listeners of `meshnode proxy`: in the foreground, for one user, without root."""

import ipaddress
import signal
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import trio

from meshnode.codec.proxy_link import (
    MemberName,
    PlannedListener,
    PlannedUser,
    ProxyPlan,
)
from meshnode.errors import HostError, UsageError
from meshnode.host.changes import RemoveSocket
from meshnode.host.streams import open_listener
from meshnode.manage.proxy_text import ProxyListener, parse_place
from meshnode.manage.users_file import load_users
from meshnode.node.proxy_listeners import ListenerSet
from meshnode.node.proxy_plan import EXIT_PORT
from meshnode.node.proxy_process import allow_many_sockets
from meshnode.node.proxy_speakers import ProxySpeakers
from meshnode.node.uapi_listener import listen_own
from meshnode.types import Endpoint, Prefix


def make_plan(
    listeners: Iterable[ProxyListener],
    status: Mapping[str, Any],
    peers: Iterable[Mapping[str, Any]],
) -> ProxyPlan:
    """Return the plan of *listeners*.

    *status* and *peers* are what the node says of itself and its members; nothing,
    where we may not ask it.

    Raises:
        UsageError: if an exit is not known.
        ConfigError: if a file of users cannot be used.
    """
    members = tuple(
        MemberName(
            one["name"],
            ipaddress.IPv4Address(one["ipv4"]).packed,
            ipaddress.IPv6Address(one["ipv6"]).packed,
        )
        for one in ([status, *peers] if status else peers)
    )
    prefixes = [status[key] for key in ("cidr", "ula") if key in status]
    return ProxyPlan(
        network=status.get("network", "mesh"),
        overlay=tuple(map(Prefix.parse, prefixes)),
        listeners=tuple(_planned(one, members) for one in listeners),
        members=members,
    )


def _planned(listener: ProxyListener, members: Sequence[MemberName]) -> PlannedListener:
    users = exits = None
    if listener.users_file is not None:
        known = load_users(listener.users_file)
        users = tuple(PlannedUser(name, str(of)) for name, of in known.items())
    if listener.exit:
        exits = tuple(_exit(text, members) for text in listener.exit)
    return PlannedListener(
        listener.place,
        listener.kind,
        exits=exits,
        users=users,
        allow=listener.allow,
        deny=listener.deny,
    )


def _exit(text: str, members: Sequence[MemberName]) -> Endpoint:
    """Return where the exit *text*, a name or an overlay address, serves."""
    try:
        return Endpoint(str(ipaddress.ip_address(text)), EXIT_PORT)
    except ValueError:
        pass
    for one in members:
        if one.name == text:
            return Endpoint(str(ipaddress.IPv4Address(one.ipv4)), EXIT_PORT)
    if members:
        raise UsageError(f"exit {text}: no such member; see: meshnode peers")
    raise UsageError(
        f"exit {text}: the node does not tell us who that is; give the exit's overlay "
        "address"
    )


def serve_foreground(plan: ProxyPlan, on_ready: Callable[[], None]) -> None:
    """Serve *plan* until SIGINT or SIGTERM; call *on_ready* when that begins.

    Raises:
        HostError: if a place cannot be had, or a rule is none; then nothing is served.
    """
    allow_many_sockets()
    with ExitStack() as stack:
        sockets = [_open(one.place, stack) for one in plan.listeners]
        listeners = tuple(
            replace(one, socket=number) for number, one in enumerate(plan.listeners)
        )
        trio.run(_serve, replace(plan, listeners=listeners), sockets, on_ready)


def _open(place: str, stack: ExitStack) -> socket.socket:
    where = parse_place(place)
    if not isinstance(where, Path):
        return open_listener(where)
    opened = listen_own(where)
    # Once it is closed; only then is it seen that nobody answers.
    stack.callback(RemoveSocket(str(where)).undo)
    stack.callback(opened.close)
    return opened


async def _serve(
    plan: ProxyPlan, sockets: list[socket.socket], on_ready: Callable[[], None]
) -> None:
    problems: list[str] = []
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            listeners = ListenerSet(nursery, ProxySpeakers(), problems.extend)
            listeners.follow(plan, sockets)
            if not problems:
                on_ready()
                await anext(signals)
            nursery.cancel_scope.cancel()
    if problems:
        raise HostError(problems[0])
