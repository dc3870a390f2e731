"""One task tree for each active peer: what it sends is handled there, and only there.

Theory of operation. Control frames of a peer wait in an inbox with a bound of its own,
so a peer that sends too much loses its own frames and delays nobody's. A frame whose
handling fails, which is a fault of ours, ends the peer's tree and nothing else: the
tree is started again after a pause that doubles, and what waited is dropped. Frames
are datagrams; who needs an answer asks again. A tree whose peer is quiet ends.
"""

import logging
from collections.abc import Callable
from typing import Final, Generic, TypeVar

import trio

from meshnode.crypto.keys import PublicKey
from meshnode.node.backoff import Backoff

INBOX: Final = 256
"""Frames of one peer that wait at most; ingress passes 200 a second."""

QUIET: Final = 180.0
"""Seconds without a frame after which a tree ends."""

MAX_TREES: Final = 4096

_log = logging.getLogger("meshnode.node")

Frame = TypeVar("Frame")


class PeerTasks(Generic[Frame]):
    """The trees of all active peers.

    *handle* is called in them, with the WireGuard key of a peer and one frame.
    """

    def __init__(self, handle: Callable[[bytes, Frame], None]) -> None:
        self._handle = handle
        self._inboxes: dict[bytes, trio.MemorySendChannel[Frame]] = {}
        self._nursery: trio.Nursery | None = None
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._inboxes)

    def put(self, key: bytes, frame: Frame) -> None:
        """Hand a frame to the tree of its peer, which is started if need be."""
        inbox = self._inboxes.get(key) or self._start(key)
        try:
            if inbox is None:
                raise trio.WouldBlock
            inbox.send_nowait(frame)
        except (trio.WouldBlock, trio.BrokenResourceError):
            self.dropped += 1

    async def run(self) -> None:
        """Keep the trees alive until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None
                self._inboxes.clear()

    def _start(self, key: bytes) -> trio.MemorySendChannel[Frame] | None:
        if self._nursery is None or len(self._inboxes) >= MAX_TREES:
            return None
        sending, receiving = trio.open_memory_channel[Frame](INBOX)
        self._inboxes[key] = sending
        self._nursery.start_soon(self._supervise, key, receiving)
        return sending

    async def _supervise(
        self, key: bytes, inbox: trio.MemoryReceiveChannel[Frame]
    ) -> None:
        backoff = Backoff()
        try:
            while True:
                backoff.started(now=trio.current_time())
                try:
                    await self._serve(key, inbox)
                    return
                except Exception:
                    _log.exception("a frame of %s was not handled", PublicKey(key))
                    await trio.sleep_until(backoff.died(now=trio.current_time()))
                    self.dropped += _empty(inbox)
        finally:
            self._inboxes.pop(key, None)
            inbox.close()

    async def _serve(self, key: bytes, inbox: trio.MemoryReceiveChannel[Frame]) -> None:
        while True:
            with trio.move_on_after(QUIET) as quiet:
                frame = await inbox.receive()
            if not quiet.cancelled_caught:
                self._handle(key, frame)
            elif not inbox.statistics().current_buffer_used:
                return


def _empty(inbox: trio.MemoryReceiveChannel[Frame]) -> int:
    """Throw away what waits; return how many frames that were."""
    count = 0
    while True:
        try:
            inbox.receive_nowait()
        except trio.WouldBlock:
            return count
        count += 1
