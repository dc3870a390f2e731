"""The sending pump of the fast engine."""

import socket
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, cast

from meshnode.channels import channel_of
from meshnode.codec.virtio import PLAIN
from meshnode.dataplane.fast.facts import Recorder
from meshnode.dataplane.fast.mirror import MirroredRoutes
from meshnode.dataplane.fast.sending import FAILED, SHARED, WAITING, Sender
from meshnode.dataplane.fast.sessions import SealSession, SessionMemory
from meshnode.dataplane.fast.taps import Tap
from meshnode.dataplane.interface import Burst, WorkerResources
from meshnode.dataplane.reference.device import check_gone
from meshnode.dataplane.reference.egress import ReferenceEgress
from meshnode.dataplane.shared_sessions import egress_holder
from meshnode.dataplane.table import TablePeer
from meshnode.forwarding import (
    AddAllowedIps,
    CloseChannel,
    Command,
    OpenChannel,
    ProgramComplete,
    RemoveAllowedIps,
    RemovePeer,
    SetEndpoint,
    SetLink,
)
from meshnode.offloads import FULL, OFF
from meshnode.types import Path

FRAMES_PER_PUMP = 64
"""Frames sealed before commands are looked at again; about 3 ms of full-size ones."""

EXCEPTIONS_PER_PUMP = 32
"""Frames that the reference handles before that."""


class FastEgress(ReferenceEgress):
    """TUN → seal → UDP: the reference's pump, with the compiled way before it."""

    def __init__(self, resources: WorkerResources) -> None:
        recorder = Recorder(resources.traffic, True, resources.number)
        memory = None
        if resources.sessions is not None:
            holder = egress_holder(resources.number)
            memory = SessionMemory(resources.sessions, holder)
        tap = Tap(resources.tap)
        self._sender = Sender(resources.queues, recorder, self._send_refused, tap)
        self._routes: object = None
        self._mirrored: set[int] = set()
        # Who is behind which channels, and the reverse.
        self._channels_of: dict[int, set[int]] = {}
        self._behind: dict[int, set[int]] = {}
        super().__init__(
            resources,
            tap=tap,
            make_session=partial(SealSession, memory=memory),
            make_routes=MirroredRoutes,
        )

    def apply(self, command: Command, *, now: float) -> None:
        """Obey one command, and send what it sets free.

        Raises:
            DeviceGoneError: if our host is to be told something and has no device.
        """
        super().apply(command, now=now)
        self._mirror(command)

    def wait(self, links: Mapping[int, int]) -> list[int]:
        """Carry packets until one of *links* is ready, or somebody must be told."""
        ready = self._sender.wait(links)
        self._tell_news()
        return ready

    def pump(self, descriptor: int, *, now: float) -> None:
        """Send what waits in one queue, a bounded number of frames."""
        sender = self._sender
        stop = sender.pump(descriptor, FRAMES_PER_PUMP, now)
        for _ in range(EXCEPTIONS_PER_PUMP):
            if stop == SHARED and self._send_shared():
                pass
            elif stop in (WAITING, SHARED):
                self._send_exception(now)
            else:
                break
            stop = sender.pump(descriptor, FRAMES_PER_PUMP, now)
        else:
            if stop in (WAITING, SHARED):
                self._send_exception(now)
        self._finish()
        if stop == FAILED:
            check_gone(OSError(sender.error, "reading from the TUN device"))

    def use_sockets(self, sockets: Sequence[socket.socket]) -> None:
        """Speak by *sockets* from now on and close the earlier ones."""
        super().use_sockets(sockets)
        for slot in self._known():
            self._mirror_peer(slot)
        self._follow_switches()

    # --- the exceptions ---

    def _send_exception(self, now: float) -> None:
        """Let the reference send the frame that waits, behind what came before it."""
        frame = self._sender.frame
        self._finish()
        self._half.send_frame(frame, now=now)
        self._send(self._half.bursts_to_send())
        self._tap.publish()
        self._return_packets()

    def _send_shared(self) -> bool:
        """Choose the owner of a shared prefix for the frame that waits."""
        routes = cast(MirroredRoutes, self._half.table.routes)
        owners = routes.prefixes.shared.get(self._sender.shared)
        if owners is None:
            return False
        slot = owners.owner_of(self._sender.frame[len(PLAIN) :])
        return self._sender.send_to(slot)

    def _finish(self) -> None:
        self._sender.finish()
        self._tell_news()

    def _tell_news(self) -> None:
        for slot, has_resumed in self._sender.news():
            now = self._sender.now
            self._half.note_carried(slot, has_resumed=has_resumed, now=now)

    def _send_refused(
        self, slot: int, way: int, data: bytearray, segment_size: int
    ) -> None:
        """Send with the reference's patience what the kernel did not take at once."""
        ways = self._ways_of(slot)
        if way < len(ways):
            self._send((Burst(ways[way][0], segment_size, data),))
        self._follow_switches()

    def _follow_switches(self) -> None:
        """Limit the compiled way as the most limited socket is; the rest is ours."""
        states = {one.state for one in self.switches}
        self._sender.can_segment = OFF not in states
        self._sender.takes_tails = states <= {FULL}

    # --- the mirror ---

    def _mirror(self, command: Command) -> None:
        table = self._half.table
        if table.routes is not self._routes:
            self._routes = table.routes
            tables = cast(MirroredRoutes, table.routes).prefixes.tables
            self._sender.set_routes(tables[4], tables[6])
        match command:
            case AddAllowedIps() | RemoveAllowedIps():
                pass
            case ProgramComplete() | SetLink():
                self._sender.set_mtu(table.mtu)
                for slot in self._known() | table.peers.keys():
                    self._mirror_peer(slot)
            case OpenChannel(channel) | CloseChannel(channel):
                self._mirror_behind((channel,))
            case _:
                about = getattr(command, "slot", None)
                if about is not None:
                    self._mirror_peer(about)
                if isinstance(command, SetEndpoint):
                    self._mirror_behind(self._channels_by(command.slot))
                elif isinstance(command, RemovePeer):
                    self._mirror_behind(tuple(self._behind))

    def _channels_by(self, relay: int) -> list[int]:
        """Return the channels that somebody is behind and that this peer carries."""
        find = self._half.table.channels.find
        found = ((number, find(number)) for number in self._behind)
        return [number for number, one in found if one and one.command.slot == relay]

    def _mirror_behind(self, channels: Iterable[int]) -> None:
        """Mirror the peers that are reached by one of these channels of ours."""
        for channel in channels:
            for slot in tuple(self._behind.get(channel, ())):
                self._mirror_peer(slot)

    def _mirror_peer(self, slot: int) -> None:
        table = self._half.table
        peer = table.peers.get(slot)
        self._note_channels(slot, peer)
        session = None if peer is None else cast(SealSession | None, peer.in_use)
        ways = self._ways_of(slot) if table.is_up else []
        if session is None or not ways:
            self._sender.set_target(slot, None, ())
            self._mirrored.discard(slot)
        else:
            self._sender.set_target(slot, session, ways)
            self._mirrored.add(slot)

    def _known(self) -> set[int]:
        """Return the slots of which we have noted anything."""
        return self._mirrored | self._channels_of.keys()

    def _note_channels(self, slot: int, peer: TablePeer[Any] | None) -> None:
        """Note which channels the peer in *slot* is behind, open or not."""
        paths = () if peer is None else (peer.path, peer.standby)
        channels = {channel_of(path.remote) for path in paths if path is not None} - {0}
        for channel in self._channels_of.pop(slot, set()) - channels:
            self._behind[channel].discard(slot)
            if not self._behind[channel]:
                del self._behind[channel]
        if channels:
            self._channels_of[slot] = channels
        for channel in channels:
            self._behind.setdefault(channel, set()).add(slot)

    def _ways_of(self, slot: int) -> list[tuple[Path, int, int]]:
        """Return the path, label and socket of each way to a peer, at most two.

        There is none if not all of its paths lead anywhere.
        """
        table = self._half.table
        peer = table.peers.get(slot)
        if peer is None or peer.path is None:
            return []
        ways = []
        for path in (peer.path, peer.standby):
            if path is not None:
                way, label = table.way_of(path)
                if way is None:
                    return []
                sock = self._sockets.find(way)
                ways.append((way, label, -1 if sock is None else sock.fileno()))
        # A prefix is easier taken away than added.
        return sorted(ways, key=lambda way: not way[1])
