"""The forwarding table one worker keeps: peers, their prefixes, their sessions.

Theory of operation: control may start over at any time by `Reset`. A new set of peers
and prefixes is then built beside the one in use and replaces it by `ProgramComplete`,
so traffic flows on meanwhile. Sessions are not part of that: they carry counters and
replay windows that no program holds, and stay with the peers that stay.

Nothing is obeyed before the first `Reset` of our own generation: it was meant for a
worker that is gone. Every command may be repeated without harm; above all, a session
installed twice keeps its counter.
"""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from meshnode.channels import channel_of
from meshnode.dataplane.channel_table import ChannelTable
from meshnode.dataplane.routes import Routes
from meshnode.forwarding import (
    AddAllowedIps,
    AddPeer,
    CloseChannel,
    Command,
    HeldSession,
    InstallSession,
    OpenChannel,
    PreferSession,
    ProgramComplete,
    RemoveAllowedIps,
    RemovePeer,
    Report,
    Reset,
    RetireSession,
    Session,
    SessionsHeld,
    SetCipher,
    SetEndpoint,
    SetIdentity,
    SetLink,
    SetStandby,
    SharePrefix,
    UnsharePrefix,
    UseSession,
)
from meshnode.types import Cipher, Path
from meshnode.wireguard.constants import DEFAULT_MTU, REJECT_AFTER_TIME

HELD_PER_REPORT = 100
"""Sessions in one `SessionsHeld`, so that it fits any channel."""


class TableSession:
    """One session of a peer; the directions add what they need.

    Data is refused from `expires_at` on, boottime seconds. `cipher` is what is sent
    under; received is either.
    """

    __slots__ = ("cipher", "expires_at", "local_index", "secrets", "slot")

    def __init__(self, slot: int, secrets: Session) -> None:
        self.slot = slot
        self.secrets = secrets
        self.local_index = secrets.local_index
        self.expires_at = secrets.born_at + REJECT_AFTER_TIME
        self.cipher = Cipher.CHACHA20_POLY1305


S = TypeVar("S", bound=TableSession)


class TablePeer(Generic[S]):
    """One peer: where it is, and the session to send with; None if there is none.

    Data goes by the `standby` path, too. If it `is_sought`, somebody looks for it as
    long as it has no path.
    """

    __slots__ = ("in_use", "is_sought", "path", "slot", "standby")

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.path: Path | None = None
        self.standby: Path | None = None
        self.is_sought = False
        self.in_use: S | None = None


P = TypeVar("P", bound=TablePeer[Any])


class _Program(Generic[P]):
    """A table under construction."""

    def __init__(self, routes: Routes, channels: ChannelTable) -> None:
        self.peers: dict[int, P] = {}
        self.paths: dict[int, Path | None] = {}
        self.standbys: dict[int, Path | None] = {}
        self.routes = routes
        self.channels = channels


class ForwardingTable(Generic[P, S]):
    """Applies commands; the halves read its attributes for each packet.

    `peers` is by slot, `sessions` by local index, `channels` by our number, `routes`
    gives slots or, for a shared prefix, its `Owners`. Until told otherwise the link is
    down.
    """

    def __init__(
        self,
        generation: int,
        make_peer: Callable[[int], P],
        make_session: Callable[[int, Session], S],
        make_routes: Callable[[], Routes] = Routes,
        make_channels: Callable[[], ChannelTable] = ChannelTable,
    ) -> None:
        self.peers: dict[int, P] = {}
        self.sessions: dict[int, S] = {}
        self.routes = make_routes()
        self.channels = make_channels()
        self.mtu = DEFAULT_MTU
        self.is_up = False
        self.public_key = b""
        self._generation = generation
        self._make_peer = make_peer
        self._make_session = make_session
        self._make_routes = make_routes
        self._make_channels = make_channels
        self._program: _Program[P] | None = None
        self._has_begun = False

    def apply(self, command: Command) -> list[Report] | None:
        """Obey *command* as far as the table goes.

        Returns:
            What control must be told, or None if the command was not for us.
        """
        if isinstance(command, Reset):
            if command.generation != self._generation:
                return None
            self._has_begun = True
            self._program = _Program(self._make_routes(), self._make_channels())
            return self._held_sessions()
        if not self._has_begun:
            return None
        match command:
            case ProgramComplete():
                self._complete_program()
            case SetLink(mtu, up):
                self.mtu, self.is_up = mtu, up
            case SetIdentity(public_key):
                self.public_key = public_key
            case AddPeer(slot, is_sought):
                self._add_peer(slot, is_sought)
            case RemovePeer(slot):
                self._remove_peer(slot)
            case SetEndpoint(slot, path):
                self._set_path(slot, path)
            case SetStandby(slot, path):
                self._set_standby(slot, path)
            case OpenChannel():
                self._open_channel(command)
            case CloseChannel(channel):
                self._target().channels.close(channel)
            case AddAllowedIps() | RemoveAllowedIps():
                self._change_routes(command)
            case SharePrefix():
                self._target().routes.share(command, self._target().peers)
            case UnsharePrefix(prefix):
                self._target().routes.unshare(prefix)
            case InstallSession(slot, session):
                self._install(slot, session)
            case UseSession(slot, local_index):
                self._use(slot, local_index)
            case PreferSession(slot, local_index):
                self._prefer(slot, local_index)
            case SetCipher(slot, local_index, cipher):
                self._set_cipher(slot, local_index, cipher)
            case RetireSession(slot, local_index):
                self._retire(slot, local_index)
        return []

    def find_peer(self, slot: int) -> P | None:
        """Return the peer of *slot* as commands see it: the program's peers first."""
        if self._program is not None and slot in self._program.peers:
            return self._program.peers[slot]
        return self.peers.get(slot)

    def direct_path(self, slot: int) -> Path | None:
        """Return where the peer in *slot* is without a relay, None if nowhere."""
        peer = self.peers.get(slot)
        if peer is None or peer.path is None or channel_of(peer.path.remote):
            return None
        return peer.path

    def way_of(self, path: Path) -> tuple[Path | None, int]:
        """Return the path that datagrams for *path* take really, and under which label.

        The label is what a relay knows the channel by, 0 without one. There is no path
        if the channel is closed, or the relay not reached directly.
        """
        number = channel_of(path.remote)
        if not number:
            return path, 0
        channel = self.channels.find(number)
        if channel is None or channel.command.onward is not None:
            return None, 0
        return self.direct_path(channel.command.slot), channel.command.label

    def _held_sessions(self) -> list[Report]:
        held = [
            HeldSession(
                session.slot,
                session.local_index,
                session.secrets.remote_index,
                session.secrets.born_at,
                session.secrets.is_initiator,
                self._is_in_use(session),
                session.cipher,
            )
            for session in self.sessions.values()
        ]
        parts = [
            tuple(held[at : at + HELD_PER_REPORT])
            for at in range(0, len(held), HELD_PER_REPORT)
        ] or [()]
        return [
            SessionsHeld(part, last=number == len(parts))
            for number, part in enumerate(parts, 1)
        ]

    def _is_in_use(self, session: S) -> bool:
        peer = self.find_peer(session.slot)
        return peer is not None and peer.in_use is session

    def _complete_program(self) -> None:
        program, self._program = self._program, None
        if program is None:
            return
        for slot, peer in program.peers.items():
            peer.path = program.paths[slot]
            peer.standby = program.standbys.get(slot)
        self.peers, self.routes = program.peers, program.routes
        self.channels = program.channels
        for session in list(self.sessions.values()):
            if session.slot not in self.peers:
                del self.sessions[session.local_index]

    def _target(self) -> "ForwardingTable[P, S] | _Program[P]":
        """Return what commands change: the program, while there is one."""
        return self if self._program is None else self._program

    def _add_peer(self, slot: int, is_sought: bool) -> None:
        peers = self._target().peers
        if slot not in peers:
            peers[slot] = self.peers.get(slot) or self._make_peer(slot)
            if self._program is not None:
                self._program.paths[slot] = None
        peers[slot].is_sought = is_sought

    def _remove_peer(self, slot: int) -> None:
        for session in list(self.sessions.values()):
            if session.slot == slot:
                del self.sessions[session.local_index]
        self.peers.pop(slot, None)
        self.routes.remove_slot(slot)
        self.channels.remove_slot(slot)
        if self._program is not None:
            self._program.peers.pop(slot, None)
            self._program.paths.pop(slot, None)
            self._program.standbys.pop(slot, None)
            self._program.routes.remove_slot(slot)
            self._program.channels.remove_slot(slot)

    def _set_path(self, slot: int, path: Path | None) -> None:
        if self._program is not None:
            if slot in self._program.paths:
                self._program.paths[slot] = path
        elif slot in self.peers:
            self.peers[slot].path = path

    def _set_standby(self, slot: int, path: Path | None) -> None:
        if self._program is not None:
            self._program.standbys[slot] = path
        elif slot in self.peers:
            self.peers[slot].standby = path

    def _open_channel(self, command: OpenChannel) -> None:
        table = self._target()
        ends = {
            command.slot,
            command.slot if command.onward is None else command.onward,
        }
        if ends <= table.peers.keys():
            table.channels.open(command)

    def _change_routes(self, command: AddAllowedIps | RemoveAllowedIps) -> None:
        table = self._target()
        if command.slot not in table.peers:
            return
        for prefix in command.prefixes:
            if isinstance(command, AddAllowedIps):
                table.routes.insert(prefix, command.slot)
            else:
                table.routes.remove(prefix, command.slot)

    def _install(self, slot: int, secrets: Session) -> None:
        known = self.sessions.get(secrets.local_index)
        if known is not None:
            if known.slot == slot and known.secrets == secrets:
                return
            self._retire(known.slot, known.local_index)
        if self.find_peer(slot) is not None:
            self.sessions[secrets.local_index] = self._make_session(slot, secrets)

    def _use(self, slot: int, local_index: int) -> None:
        peer = self.find_peer(slot)
        session = self.sessions.get(local_index)
        if peer is None:
            return
        if local_index == 0:
            peer.in_use = None
        elif session is not None and session.slot == slot:
            peer.in_use = session

    def _prefer(self, slot: int, local_index: int) -> None:
        peer = self.find_peer(slot)
        session = self.sessions.get(local_index)
        if peer is None or session is None:
            return
        in_use = peer.in_use
        if in_use is None or in_use.secrets.born_at <= session.secrets.born_at:
            self._use(slot, local_index)

    def _set_cipher(self, slot: int, local_index: int, cipher: Cipher) -> None:
        session = self.sessions.get(local_index)
        if session is not None and session.slot == slot:
            session.cipher = cipher

    def _retire(self, slot: int, local_index: int) -> None:
        session = self.sessions.get(local_index)
        if session is None or session.slot != slot:
            return
        del self.sessions[local_index]
        peer = self.find_peer(slot)
        if peer is not None and peer.in_use is session:
            peer.in_use = None
