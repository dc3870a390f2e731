"""Apply a `DeviceChange`: the live changes `wg set` allows (wg(8), kernel netlink).

A change is checked whole before anything moves; after that nothing in it can fail.
Peers keep their slot, and with it their sessions, for as long as they exist; a slot
is used again as late as possible after its peer is gone, since reports and facts
about that peer may still be under way.
"""

from collections import deque
from collections.abc import Sequence

from meshnode.crypto.keys import PresharedKey, PrivateKey, PublicKey
from meshnode.errors import ConfigError
from meshnode.forwarding import (
    AddAllowedIps,
    AddPeer,
    RemoveAllowedIps,
    RemovePeer,
    SetIdentity,
)
from meshnode.types import Prefix
from meshnode.wireguard.allowed_ips import AllowedIps
from meshnode.wireguard.config import (
    DeviceChange,
    DeviceState,
    PeerChange,
    SharedPrefix,
)
from meshnode.wireguard.constants import MAX_PEERS
from meshnode.wireguard.events import ConfigurationChanged
from meshnode.wireguard.handshake import Identity
from meshnode.wireguard.peer import Peer
from meshnode.wireguard.shared import Shared
from meshnode.wireguard.shares import Shares, resolve
from meshnode.wireguard.ways import Ways

NO_SPACE = 28  # ENOSPC


class Configuration:
    """The peers, routes and settings of one device, and how they change.

    `peers` is by slot, `by_key` by public key; `routes` maps prefixes to slots, and
    `shares` has the prefixes of several peers, which are not in `routes`, and `ways`
    how some are reached beside their paths.
    """

    def __init__(self, shared: Shared) -> None:
        self.private_key: PrivateKey | None = None
        self.listen_port = 0
        self.fwmark = 0
        self.peers: dict[int, Peer] = {}
        self.by_key: dict[PublicKey, Peer] = {}
        self.routes: AllowedIps[int] = AllowedIps()
        self.shares = Shares()
        self.ways = Ways()
        self._shared = shared
        self._free_slots: deque[int] = deque()
        self._next_slot = 0

    def apply(self, change: DeviceChange, *, now: float) -> list[int]:
        """Apply *change*; return the slots it touched, those of gone peers too.

        Raises:
            ConfigError: if it would exceed the number of peers; nothing changed.
        """
        self._check_room(change)
        touched: set[int] = set()
        if change.private_key is not None or change.clear_private_key:
            touched |= self._set_identity(change.private_key, now)
        if change.listen_port is not None:
            self.listen_port = change.listen_port
        if change.fwmark is not None:
            self.fwmark = change.fwmark
        if change.replace_peers:
            for peer in list(self.peers.values()):
                touched.add(self._remove(peer, now))
        for peer_change in change.peers:
            touched |= self._apply_peer(peer_change, now)
        self._shared.report(ConfigurationChanged(), now=now)
        return sorted(touched)

    def share(self, shared: Sequence[SharedPrefix], *, now: float) -> None:
        """Let exactly these prefixes have several owners, taking them from any one.

        Raises:
            ConfigError: if an item is out of bounds; nothing changed.
        """
        shares = resolve(shared, self._slot_of)
        is_taken = False
        for share in shares:
            owner = self.routes.owner_of(share.prefix)
            if owner is not None:
                is_taken = self.routes.remove(share.prefix, owner)
        self._shared.command(*self.shares.replace(shares), now=now)
        if is_taken:
            self._shared.report(ConfigurationChanged(), now=now)

    def _slot_of(self, key: PublicKey) -> int | None:
        peer = self.by_key.get(key)
        return None if peer is None else peer.slot

    def restore(self, state: DeviceState, *, now: float) -> None:
        """Take everything from *state*, queueing no commands."""
        self.private_key = state.private_key
        self.listen_port = state.listen_port
        self.fwmark = state.fwmark
        if state.private_key is not None:
            self._shared.identity = Identity(state.private_key)
        for kept in state.peers:
            peer = Peer(self._shared, kept.slot, kept.public_key, kept.preshared_key)
            peer.set_persistent_keepalive(kept.persistent_keepalive, now=now)
            peer.restore(kept)
            self.peers[kept.slot] = self.by_key[kept.public_key] = peer
            for prefix in kept.allowed_ips:
                self.routes.insert(prefix, kept.slot)
        self._next_slot = max(self.peers, default=-1) + 1
        self._free_slots = deque(
            slot for slot in range(self._next_slot) if slot not in self.peers
        )

    def _check_room(self, change: DeviceChange) -> None:
        known = set() if change.replace_peers else set(self.by_key)
        for peer in change.peers:
            if peer.remove:
                known.discard(peer.public_key)
            elif not peer.update_only:
                known.add(peer.public_key)
            if len(known) > MAX_PEERS:
                raise ConfigError(
                    f"an interface holds at most {MAX_PEERS} peers: remove some first",
                    errno=NO_SPACE,
                )

    def _set_identity(self, key: PrivateKey | None, now: float) -> set[int]:
        """Change our static key; the same key again is no change."""
        if key == self.private_key:
            return set()
        touched: set[int] = set()
        self.private_key = key
        identity = None if key is None else Identity(key)
        self._shared.identity = identity
        if identity is not None:
            own_name = self.by_key.get(identity.public_key)
            if own_name is not None:
                touched.add(self._remove(own_name, now))
        public = b"" if identity is None else identity.public_key.raw
        self._shared.command(SetIdentity(public), now=now)
        for peer in self.peers.values():
            peer.change_identity(now=now)
            touched.add(peer.slot)
        return touched

    def _apply_peer(self, change: PeerChange, now: float) -> set[int]:
        identity = self._shared.identity
        if identity is not None and change.public_key == identity.public_key:
            return set()  # ourselves as a peer: silently ignored
        peer = self.by_key.get(change.public_key)
        if change.remove:
            return set() if peer is None else {self._remove(peer, now)}
        if peer is None:
            if change.update_only:
                return set()
            peer = self._add(change.public_key, bool(change.is_sought), now)
        elif change.is_sought not in (None, peer.dialler.is_sought):
            peer.dialler.is_sought = not peer.dialler.is_sought
            self._shared.command(AddPeer(peer.slot, peer.dialler.is_sought), now=now)
        if change.preshared_key is not None:
            peer.preshared_key = change.preshared_key
        if change.endpoint is not None:
            peer.dialler.set_endpoint(change.endpoint, now=now)
        self._change_allowed_ips(peer, change, now)
        if change.persistent_keepalive is not None:
            peer.set_persistent_keepalive(change.persistent_keepalive, now=now)
        return {peer.slot}

    def _change_allowed_ips(self, peer: Peer, change: PeerChange, now: float) -> None:
        if change.replace_allowed_ips:
            wanted = {prefix for add, prefix in change.allowed_ips if add}
            gone = [p for p in self.routes.prefixes_of(peer.slot) if p not in wanted]
            self._remove_routes(peer, gone, now)
        batch: list[Prefix] = []
        adding = True
        for add, prefix in change.allowed_ips:
            if add != adding:
                self._flush_routes(peer, batch, now, adding=adding)
                batch, adding = [], add
            batch.append(prefix)
        self._flush_routes(peer, batch, now, adding=adding)

    def _flush_routes(
        self, peer: Peer, prefixes: list[Prefix], now: float, *, adding: bool
    ) -> None:
        if not adding:
            self._remove_routes(peer, prefixes, now)
        elif prefixes:
            for prefix in prefixes:
                self.routes.insert(prefix, peer.slot)
                self.shares.take(prefix)
            self._shared.command(AddAllowedIps(peer.slot, tuple(prefixes)), now=now)

    def _remove_routes(self, peer: Peer, prefixes: list[Prefix], now: float) -> None:
        if prefixes:
            for prefix in prefixes:
                self.routes.remove(prefix, peer.slot)
            self._shared.command(RemoveAllowedIps(peer.slot, tuple(prefixes)), now=now)

    def _add(self, public_key: PublicKey, is_sought: bool, now: float) -> Peer:
        if self._next_slot < MAX_PEERS:
            slot, self._next_slot = self._next_slot, self._next_slot + 1
        else:
            slot = self._free_slots.popleft()
        self._shared.traffic.clear(slot)
        peer = Peer(self._shared, slot, public_key, PresharedKey.none())
        peer.dialler.is_sought = is_sought
        self.peers[slot] = self.by_key[public_key] = peer
        self._shared.command(AddPeer(slot, is_sought), now=now)
        return peer

    def _remove(self, peer: Peer, now: float) -> int:
        peer.stop(now=now)
        del self.peers[peer.slot], self.by_key[peer.public_key]
        self.routes.remove_owner(peer.slot)
        self.shares.remove_slot(peer.slot)
        self.ways.remove_slot(peer.slot)
        self._shared.command(RemovePeer(peer.slot), now=now)
        self._free_slots.append(peer.slot)
        return peer.slot
