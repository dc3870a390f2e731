"""The listeners of `meshnode proxy`: in the foreground, for one user, without root."""

import signal
import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import trio

from meshnode.codec.proxy_link import ProxyPlan
from meshnode.errors import HostError
from meshnode.host.changes import RemoveSocket
from meshnode.host.streams import open_listener
from meshnode.manage.proxy_text import parse_place
from meshnode.node.proxy_listeners import ListenerSet
from meshnode.node.proxy_process import allow_many_sockets
from meshnode.node.proxy_speakers import ProxySpeakers
from meshnode.node.uapi_listener import listen_own


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
