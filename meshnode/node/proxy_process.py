"""The process that serves applications: proxies, an exit's service, the resolver.

It has no privilege but to listen on ports below 1024, and no key. Control says what is
served, and again whenever that changes; what cannot be served it is told.
"""

import logging
import resource
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import trio

from meshnode.codec.proxy_link import (
    MAX_ADDRESSES,
    MAX_DESCRIPTORS,
    MAX_MESSAGE_BYTES,
    Ask,
    Counts,
    Learn,
    Learnt,
    Problems,
    ProxyMessage,
    Setup,
    Started,
    decode_from_control,
    decode_plan,
    encode,
)
from meshnode.errors import CodecError, HostError
from meshnode.host.channels import discard_messages, recv_with_fds, send_with_fds
from meshnode.host.memory import read_sealed
from meshnode.names.dns_server import Address, OnAnswer
from meshnode.node.proxy_listeners import ListenerSet, Opener, open_here
from meshnode.node.proxy_resolver import PlannedNames
from meshnode.node.proxy_speakers import ProxySpeakers

MAX_DESCRIPTORS_OPEN: Final = 65536
"""Of this process: a client takes two, and a pipe or two while names are looked up."""

LEARN_TIMEOUT: Final = 1.0
"""Seconds that an answer waits until rules by its name are in force for it."""

_log = logging.getLogger("meshnode.node")


def prepare() -> None:
    """Do what can only be done while the process may do everything."""
    # Names are looked up with it; it is loaded at the first use, by who may not read.
    import encodings.idna  # noqa: F401

    allow_many_sockets()


def allow_many_sockets() -> None:
    """Let this process have as many descriptors as it may, as far as it needs them."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_DESCRIPTORS_OPEN
    if hard != resource.RLIM_INFINITY:
        wanted = min(hard, wanted)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def run_proxy(link: socket.socket, open_outside: Opener | None = None) -> int:
    """Be the process until SIGTERM; return an exit code.

    *link* leads to control. Where the process is not in the host's network,
    *open_outside* opens listeners there.
    """
    with suppress(KeyboardInterrupt):
        trio.run(ProxyProcess(link, open_outside).run)
    return 0


class ProxyProcess:
    """Everything of the process; arguments are those of `run_proxy`."""

    def __init__(self, link: socket.socket, open_outside: Opener | None = None) -> None:
        self._link = link
        self._open = open_outside or open_here
        self._number = 0
        self._learning: dict[int, trio.Event] = {}

    async def run(self) -> None:
        """Serve until SIGTERM."""
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            async with trio.open_nursery() as nursery:
                services = _Services(nursery, self._tell, self._learn, self._open)
                # What was meant for the process before us is said anew.
                discard_messages(
                    self._link, max_bytes=MAX_MESSAGE_BYTES, max_fds=MAX_DESCRIPTORS
                )
                self._tell(Started())
                nursery.start_soon(self._hear, services)
                await anext(signals)
                nursery.cancel_scope.cancel()

    async def _hear(self, services: "_Services") -> None:
        while True:
            await trio.lowlevel.wait_readable(self._link)
            received = recv_with_fds(
                self._link, max_bytes=MAX_MESSAGE_BYTES, max_fds=MAX_DESCRIPTORS
            )
            if received is None:
                continue
            data, descriptors = received
            sockets = [socket.socket(fileno=number) for number in descriptors[1:]]
            match decode_from_control(data):
                case Setup(size):
                    self._follow(services, size, descriptors, sockets)
                case Ask(number):
                    self._tell(Counts(number, services.listeners.counters()))
                case Learnt(number) if number in self._learning:
                    self._learning[number].set()

    def _follow(
        self,
        services: "_Services",
        size: int,
        descriptors: Sequence[int],
        sockets: Sequence[socket.socket],
    ) -> None:
        if not descriptors:
            raise CodecError("a setup without a plan")
        with open(descriptors[0], "rb") as memory:
            plan = decode_plan(read_sealed(memory.fileno(), size))
        services.listeners.follow(plan, sockets)
        services.names.follow(plan)

    async def _learn(self, name: str, addresses: Sequence[Address], ttl: int) -> None:
        """Let control know an answer before it leaves, unless that takes too long."""
        number = self._number = (self._number + 1) % 2**32
        known = self._learning[number] = trio.Event()
        texts = tuple(dict.fromkeys(map(str, addresses)))[:MAX_ADDRESSES]
        try:
            self._tell(Learn(number, name, texts, ttl))
            with trio.move_on_after(LEARN_TIMEOUT):
                await known.wait()
        except CodecError as error:
            _log.debug("no rule can speak of a name: %s", error)
        finally:
            del self._learning[number]

    def _tell(self, message: ProxyMessage) -> None:
        try:
            if not send_with_fds(self._link, encode(message)):
                _log.debug("control does not listen: a message is lost")
        except HostError as error:
            _log.debug("control is gone: %s", error)


class _Services:
    """What the process does for others; by *tell* it says what does not work.

    *learn* is awaited with what names mean.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        tell: Callable[[ProxyMessage], None],
        learn: OnAnswer,
        opener: Opener,
    ) -> None:
        self._tell = tell
        self._texts: tuple[str, ...] = ()
        self._text = ""
        self.listeners = ListenerSet(
            nursery, ProxySpeakers(), self._note_listeners, opener=opener
        )
        self.names = PlannedNames(nursery, self._note_names, learn)

    def _note_listeners(self, texts: tuple[str, ...]) -> None:
        self._texts = texts
        self._tell_all()

    def _note_names(self, text: str) -> None:
        if text != self._text:
            self._text = text
            self._tell_all()

    def _tell_all(self) -> None:
        names = (self._text,) if self._text else ()
        self._tell(Problems((*self._texts, *names)))
