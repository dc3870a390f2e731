"""A device that only remembers, for the tests of the userspace API."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
import trio

from meshnode.crypto.keys import PresharedKey, PrivateKey, PublicKey
from meshnode.errors import ConfigError, HostError
from meshnode.manage.uapi_server import serve_uapi
from meshnode.types import Prefix
from meshnode.wireguard.config import (
    DeviceChange,
    DeviceStatus,
    PeerChange,
    PeerStatus,
)


class FakeDevice:
    """Applies changes as WireGuard does, and keeps the changes it saw."""

    def __init__(self) -> None:
        self.status = DeviceStatus(None, 0, 0, [])
        self.changes: list[DeviceChange] = []
        self.get_error: ConfigError | HostError | None = None
        self.set_error: ConfigError | HostError | None = None
        self.set_gate: trio.Event | None = None
        self.sets_at_once = 0
        self.most_sets_at_once = 0

    async def get(self) -> DeviceStatus:
        """Tell the status, or fail as told."""
        await trio.lowlevel.checkpoint()
        if self.get_error is not None:
            raise self.get_error
        return self.status

    async def set(self, change: DeviceChange) -> None:
        """Apply *change* when the gate is open, or fail as told."""
        self.sets_at_once += 1
        self.most_sets_at_once = max(self.most_sets_at_once, self.sets_at_once)
        try:
            await trio.lowlevel.checkpoint()
            if self.set_gate is not None:
                await self.set_gate.wait()
            if self.set_error is not None:
                raise self.set_error
            self._apply(change)
        finally:
            self.sets_at_once -= 1

    def _apply(self, change: DeviceChange) -> None:
        self.changes.append(change)
        status = self.status
        if change.private_key is not None or change.clear_private_key:
            status.private_key = change.private_key
        if change.listen_port is not None:
            status.listen_port = change.listen_port
        if change.fwmark is not None:
            status.fwmark = change.fwmark
        if change.replace_peers:
            status.peers = []
        for peer_change in change.peers:
            self._apply_peer(peer_change)

    def _apply_peer(self, change: PeerChange) -> None:
        peers = {peer.public_key: peer for peer in self.status.peers}
        peer = peers.get(change.public_key)
        if change.remove:
            peers.pop(change.public_key, None)
            self.status.peers = list(peers.values())
            return
        if peer is None:
            if change.update_only:
                return
            peer = new_peer(change.public_key)
            self.status.peers.append(peer)
        if change.preshared_key is not None:
            peer.preshared_key = change.preshared_key
        if change.endpoint is not None:
            peer.endpoint = change.endpoint
        if change.persistent_keepalive is not None:
            peer.persistent_keepalive = change.persistent_keepalive
        prefixes = [] if change.replace_allowed_ips else peer.allowed_ips
        kept = dict.fromkeys(prefixes)
        for is_added, prefix in change.allowed_ips:
            if is_added:
                kept[prefix] = None
            else:
                kept.pop(prefix, None)
        peer.allowed_ips = list(kept)


def new_peer(
    public_key: PublicKey, allowed_ips: list[Prefix] | None = None
) -> PeerStatus:
    """A peer that has done nothing yet."""
    return PeerStatus(
        public_key, PresharedKey.none(), None, (0, 0), 0, 0, 0, allowed_ips or []
    )


class Served:
    """A device and the socket it is served on."""

    def __init__(self, path: Path, device: FakeDevice) -> None:
        self.path = path
        self.device = device

    async def connect(self) -> trio.SocketStream:
        """Connect to the server."""
        return await trio.open_unix_socket(self.path)

    async def read_reply(self, stream: trio.SocketStream) -> bytes:
        """Read to the empty line, or to the end of the connection."""
        reply = b""
        with trio.fail_after(30):
            while not reply.endswith(b"\n\n"):
                data = await stream.receive_some()
                if not data:
                    break
                reply += data
        return reply

    async def ask(self, request: bytes) -> bytes:
        """Send *request* and return the whole reply."""
        async with await self.connect() as stream:
            await stream.send_all(request)
            return await self.read_reply(stream)


@asynccontextmanager
async def serve(path: Path, device: FakeDevice) -> AsyncIterator[Served]:
    """Serve *device* at *path* while the block runs."""
    with trio.socket.socket(trio.socket.AF_UNIX) as listener:
        await listener.bind(str(path))
        listener.listen(128)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_uapi, listener, device)
            yield Served(path, device)
            nursery.cancel_scope.cancel()


@pytest.fixture
def device() -> FakeDevice:
    """A device without a key."""
    return FakeDevice()


@pytest.fixture
def busy_device(device: FakeDevice) -> FakeDevice:
    """A device whose status is far larger than any socket buffer."""
    private = PrivateKey(b"\x11" * 32)
    prefixes = [
        Prefix(4, (a << 24) | (b << 16), 16) for a in range(256) for b in range(256)
    ]
    peers = [new_peer(private.public_key(), prefixes)]
    device.status = DeviceStatus(private, 51820, 0, peers)
    return device


@pytest.fixture
def serve_at() -> Callable[[Path, FakeDevice], AbstractAsyncContextManager[Served]]:
    """Serve a device at a path while a block runs."""
    return serve


@pytest.fixture
async def served(tmp_path: Path, device: FakeDevice) -> AsyncIterator[Served]:
    """A device without a key, served."""
    async with serve(tmp_path / "wg.sock", device) as served:
        yield served
