"""A host that joins a mesh by an invite: `meshnode join`, in virtual time.

It stands for `node.joiner` and `node.exchange`: the same `Joining` over the same
`InlinePlane`, at a UDP port of its own beside the node's. Its keys are on disk before
it asks, so a joiner that crashed asks with them again.
"""

from collections.abc import Callable
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Final

from meshnode.codec.messages import Message
from meshnode.crypto.keys import PublicKey
from meshnode.crypto.signing import SigningKey
from meshnode.mesh.introduction import introduce_joiner
from meshnode.mesh.join_request import create_join_request
from meshnode.mesh.joining import Joining, JoinRefusedError, JoinResult
from meshnode.mesh.token import Token
from meshnode.mesh.trust import Trust
from meshnode.node.exchange import CLAIM_SECONDS
from meshnode.node.inline_plane import InlinePlane
from meshnode.simulation.trace import Flight
from meshnode.types import Datagram, Endpoint, Path

if TYPE_CHECKING:
    from meshnode.simulation.host import SimulatedHost

_FIRST_PORT: Final = 40_000


class JoinAttempt:
    """One run of the command; it ends with `result`, or with `refusal`'s code.

    Args:
        host: where it runs.
        token: the invite.
        name: what the host wants to be called.
        signing_key: from the host's disk.
        number: of the attempt, from 0.
        on_result: called once all is verified.
    """

    def __init__(
        self,
        host: "SimulatedHost",
        token: Token,
        name: str,
        signing_key: SigningKey,
        number: int,
        on_result: Callable[[JoinResult], None],
    ) -> None:
        self.result: JoinResult | None = None
        self.refusal = ""
        self._host = host
        self._token = token
        self._random = Random(f"{host.world.seed}/{host.name}/join/{number}")
        self._port = _FIRST_PORT + number
        self._on_result = on_result
        self._is_running = True
        self._wakes_at = float("inf")
        own_key = host.public_key.raw
        request = create_join_request(
            signing_key,
            token.network_id,
            wireguard_key=own_key,
            invite_key=token.invite_private.public_key().raw,
            name=name,
        )
        self._joining = Joining(
            Trust(token.network_id), request, key=own_key, issuer_key=token.issuer_key
        )
        self._plane = InlinePlane(
            host.private_key,
            PublicKey(token.issuer_key),
            tuple(Endpoint.parse(place) for place in token.endpoints),
            entropy=self._random.randbytes,
            on_message=self._take,
            on_begun=self._introduce,
            now=host.now,
            wall=self._wall,
        )
        host.visitors[self._port] = self._receive
        host.note("asks to join")
        self._step()

    @property
    def is_over(self) -> bool:
        """Whether there is a result or a refusal, or it was killed."""
        return not self._is_running

    def kill(self) -> None:
        """End it at once; what it learned is lost."""
        self._is_running = False
        self._host.visitors.pop(self._port, None)

    @property
    def _wall(self) -> float:
        return self._host.clock.wall_time(self._host.world.now)

    def _receive(self, flight: Flight) -> None:
        path = Path(flight.source, self._host.path_of(flight).source)
        try:
            self._plane.receive(Datagram(flight.data, path), now=self._host.now)
        except JoinRefusedError as refusal:
            self._refuse(refusal)
        else:
            self._step()

    def _take(self, message: Message) -> None:
        self._joining.receive(message, wall=int(self._wall))

    def _introduce(self, endpoints: tuple[Endpoint, ...]) -> list[Datagram]:
        token = self._token
        datagram = introduce_joiner(
            network_id=token.network_id,
            invite_private=token.invite_private,
            issuer_key=token.issuer_key,
            joiner_key=self._host.public_key.raw,
            until=int(self._wall) + CLAIM_SECONDS,
            ephemeral=self._random.randbytes(32),
        )
        return [Datagram(datagram, Path(endpoint)) for endpoint in endpoints]

    def _step(self) -> None:
        """Say what is due, and sleep until something is."""
        host, plane = self._host, self._plane
        if not self._is_running:
            return
        if self._joining.result is not None:
            self.result = self._joining.result
            self.kill()
            host.note("has its certificate")
            self._on_result(self.result)
            return
        now = host.now
        for message in self._joining.messages_to_send(now=now):
            plane.send(message, now=now)
        plane.handle_deadline(now=now)
        for datagram in plane.datagrams_to_send():
            self._send(datagram)
        deadlines = [self._joining.next_deadline(), plane.next_deadline()]
        at = min(deadline for deadline in deadlines if deadline is not None)
        # World time and boottime are converted in floating point.
        self._wakes_at = max(host.clock.world_time(at), host.world.now) + 1e-6
        host.world.at(self._wakes_at, partial(self._wake, self._wakes_at))

    def _wake(self, at: float) -> None:
        if at == self._wakes_at:
            self._step()

    def _send(self, datagram: Datagram) -> None:
        host, remote = self._host, datagram.path.remote
        source = Endpoint(host.addresses[remote.version], self._port)
        host.world.transmit(host, datagram.data, source, remote)

    def _refuse(self, refusal: JoinRefusedError) -> None:
        self.refusal = refusal.code
        self.kill()
        self._host.note(f"may not join: {refusal}")
