"""The verbs `capture` and `capture-names`: who may read the tap, and who is who in it.

The node lends the memory of the tap to one command at a time and turns it on for as
long as that command's connection lives. It never looks at a packet itself: the command
reads the rings, so a capture costs this process nothing.

Keys go to a capture only if it asks for them, and in the form that Wireshark takes. Its
user is root or the node's own, who could have what matters anyway: the private key by
`wg show`, and what a session carries at the interface. What is new is that what is
written down opens the captured datagrams for ever; so the command asks first, and the
log tells.
"""

import logging
import mmap
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping

from meshnode.codec.tap import (
    HEAD,
    HEADER_BYTES,
    INNER,
    LAYOUT,
    MAX_SNAPLEN,
    OUTER,
    RING_BYTES,
    SNAPLEN,
    TAIL,
    WANTED,
    ring_of,
)
from meshnode.crypto.keys import PresharedKey, PublicKey
from meshnode.errors import MeshnodeError
from meshnode.manage.api_server import EventStream
from meshnode.manage.toml_reader import Table
from meshnode.mesh.node import MeshNode
from meshnode.wireguard.engine import Engine

_log = logging.getLogger("meshnode.node")

Answered = Mapping[str, object] | EventStream
Verb = Callable[[Table], Awaitable[Answered]]


class MeshCapture:
    """Lends the tap, a memfd that is mapped at *memory*.

    Args:
        node: knows the members' names.
        engine: knows who is in which slot.
        descriptor: of the memory, to be handed out; stays the caller's.
        memory: all rings; what an earlier control process left on is turned off.
        port: the UDP port of the node's own sockets.
    """

    def __init__(
        self,
        node: MeshNode,
        engine: Engine,
        descriptor: int,
        memory: memoryview,
        port: int,
    ) -> None:
        self._node = node
        self._engine = engine
        self._descriptor = descriptor
        self._memory = memory
        self._port = port
        self._holder = 0
        count = len(memory) // (HEADER_BYTES + RING_BYTES)
        self._rings = [
            ring_of(memory, number)[:HEADER_BYTES].cast("Q") for number in range(count)
        ]
        self._turn_off()

    def verbs(self) -> dict[str, Verb]:
        """Return the functions that answer, by verb."""
        return {"capture": self._capture, "capture-names": self._names}

    async def _capture(self, args: Table) -> Answered:
        underlay = args.get("underlay", _flag, False)
        snaplen = args.get("snaplen", _snaplen, MAX_SNAPLEN)
        pid = args.get("pid", _number, None)
        has_keys = args.get("keys", _flag, False)
        args.finish()
        if self._holder:
            raise MeshnodeError(
                f"process {self._holder} captures already, and one at a time can: "
                "end it first"
            )
        self._holder = pid
        stream = EventStream(descriptor=self._descriptor, on_close=self._turn_off)
        for words in self._rings:
            words[TAIL] = words[HEAD]
            words[SNAPLEN] = snaplen
            words[WANTED] = INNER | (OUTER if underlay else 0)
        size, port = len(self._memory), self._port
        stream.send({"layout": LAYOUT, "bytes": size, "port": port})
        if has_keys:
            self._log_keys(stream)
        return stream

    def _log_keys(self, stream: EventStream) -> None:
        """Let the stream have what opens the sessions that begin from now on."""
        own = self._engine.private_key
        if own is None:
            return
        _log.warning("a capture is given our private key and those of new sessions")
        identity = f"LOCAL_STATIC_PRIVATE_KEY = {own.to_base64()}\n"

        def tell(ephemeral: bytes, peer: PublicKey, shared: PresharedKey) -> None:
            lines = [
                f"REMOTE_STATIC_PUBLIC_KEY = {peer}",
                f"LOCAL_EPHEMERAL_PRIVATE_KEY = {b64encode(ephemeral).decode()}",
            ]
            if shared != PresharedKey.none():
                lines.append(f"PRESHARED_KEY = {shared.to_base64()}")
            stream.send({"keys": identity + "".join(f"{one}\n" for one in lines)})

        self._engine.log_keys(tell)

    async def _names(self, args: Table) -> Answered:
        args.finish()
        names = {}
        for slot, key in self._engine.keys_by_slot().items():
            member = self._node.membership.by_key(key.raw)
            names[str(slot)] = str(key) if member is None else member.certificate.name
        return {"names": names}

    def _turn_off(self) -> None:
        """Let nothing be copied any more, and give the memory back."""
        self._holder = 0
        self._engine.log_keys(None)
        for words in self._rings:
            words[WANTED] = 0
        whole = self._memory.obj
        if not isinstance(whole, mmap.mmap):
            return
        for number in range(len(self._rings)):
            start = number * (HEADER_BYTES + RING_BYTES) + HEADER_BYTES
            whole.madvise(mmap.MADV_REMOVE, start, RING_BYTES)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("is not true or false")
    return value


def _number(value: object) -> int:
    if type(value) is not int or value <= 0:
        raise ValueError("is not a number above 0")
    return value


def _snaplen(value: object) -> int:
    number = _number(value)
    if number > MAX_SNAPLEN:
        raise ValueError(f"is more than {MAX_SNAPLEN} bytes")
    return number
