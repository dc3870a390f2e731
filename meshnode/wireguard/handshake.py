"""The handshake of WireGuard with one peer, as explicit states (paper 5.4).

    ZEROED ─ create_initiation ─▶ CREATED_INITIATION ─ consume_response ─▶
        CONSUMED_RESPONSE ─ derive_keys ─▶ ZEROED
    ZEROED ─ accept_initiation ─▶ CONSUMED_INITIATION ─ create_response ─▶
        CREATED_RESPONSE ─ derive_keys ─▶ ZEROED

An initiation is created or accepted in any state and replaces what was there. Who is
to answer one without giving up its own does so in `another` handshake with the peer.
All that a handshake has got to is one immutable value, replaced as a whole by the last
statement of each step. Hence the contract of every method here: **after an exception
the state has not moved.**

Randomness and time are arguments. MACs (`cookie`), indices (`indices`) and the rule
that a timestamp must be new belong to the caller. What another host can cause raises
`BadPacket`; a step that is ours to take, in a wrong state, raises `RuntimeError`.
"""

import copy
import enum
from dataclasses import field, replace
from typing import Final

from meshnode.codec.tai64n import LABEL_SIZE
from meshnode.codec.wireguard import Initiation, Response
from meshnode.crypto.keys import PresharedKey, PrivateKey, PublicKey
from meshnode.crypto.primitives import KEY_SIZE, x25519, x25519_base
from meshnode.errors import AuthenticationError, BadPacket, DropReason
from meshnode.forwarding import Session
from meshnode.values import frozen
from meshnode.wireguard.noise import Transcript


class HandshakeState(enum.Enum):
    """How far a handshake has got."""

    ZEROED = enum.auto()  # nothing is under way
    CREATED_INITIATION = enum.auto()  # we wait for a response
    CONSUMED_INITIATION = enum.auto()  # we owe a response
    CREATED_RESPONSE = enum.auto()  # responder; keys can be derived
    CONSUMED_RESPONSE = enum.auto()  # initiator; keys can be derived


class _Step(enum.Enum):
    CREATE_INITIATION = enum.auto()
    ACCEPT_INITIATION = enum.auto()
    CREATE_RESPONSE = enum.auto()
    CONSUME_RESPONSE = enum.auto()
    DERIVE_KEYS = enum.auto()


_ANY: Final = frozenset(HandshakeState)

# From which states each step may be taken, and where it leads.
_TRANSITIONS: Final[dict[_Step, tuple[frozenset[HandshakeState], HandshakeState]]] = {
    _Step.CREATE_INITIATION: (_ANY, HandshakeState.CREATED_INITIATION),
    _Step.ACCEPT_INITIATION: (_ANY, HandshakeState.CONSUMED_INITIATION),
    _Step.CREATE_RESPONSE: (
        frozenset({HandshakeState.CONSUMED_INITIATION}),
        HandshakeState.CREATED_RESPONSE,
    ),
    _Step.CONSUME_RESPONSE: (
        frozenset({HandshakeState.CREATED_INITIATION}),
        HandshakeState.CONSUMED_RESPONSE,
    ),
    _Step.DERIVE_KEYS: (
        frozenset({HandshakeState.CREATED_RESPONSE, HandshakeState.CONSUMED_RESPONSE}),
        HandshakeState.ZEROED,
    ),
}


class Identity:
    """Our static key pair, with what can be computed from it once."""

    def __init__(self, private_key: PrivateKey) -> None:
        self.private_key = private_key
        self.public_key = private_key.public_key()
        # Every initiation to us begins with it.
        self.transcript = Transcript.begin(self.public_key.raw)


@frozen
class InitiatorClaim:
    """Who sent an initiation, by its own word: it may still be a replay.

    It carries the transcript up to the static key, so that finding the peer and
    asking it costs one Diffie-Hellman less.
    """

    public_key: PublicKey
    transcript: Transcript = field(repr=False)


def identify_initiator(identity: Identity, initiation: Initiation) -> InitiatorClaim:
    """Decrypt the sender's static key. Nothing changes anywhere.

    Raises:
        BadPacket: WEAK_KEY or BAD_HANDSHAKE.
    """
    transcript = identity.transcript.mix_ephemeral(initiation.ephemeral)
    secret = _agree(identity.private_key.reveal(), initiation.ephemeral)
    transcript, key = transcript.mix_secret_to_key(secret)
    transcript, static = _open(transcript, key, initiation.encrypted_static)
    return InitiatorClaim(PublicKey(static), transcript)


@frozen
class OpenedInitiation:
    """An initiation that has authenticated; whether its timestamp is new is open.

    Only a handshake makes one, so who accepts it accepts no forgery.
    """

    public_key: PublicKey
    timestamp: bytes
    remote_index: int
    remote_ephemeral: bytes
    transcript: Transcript = field(repr=False)


@frozen
class DerivedKeys:
    """The outcome of a handshake: keys of 32 bytes, indices of both sides."""

    send_key: bytes = field(repr=False)
    receive_key: bytes = field(repr=False)
    local_index: int
    remote_index: int
    is_initiator: bool

    def session(self, born_at: float) -> Session:
        """Return them as the data plane needs them; `born_at` is boottime seconds."""
        return Session(
            local_index=self.local_index,
            remote_index=self.remote_index,
            send_key=self.send_key,
            receive_key=self.receive_key,
            born_at=born_at,
            is_initiator=self.is_initiator,
        )


@frozen
class _Progress:
    """All that one handshake has got to; `ephemeral` is our private one."""

    state: HandshakeState
    transcript: Transcript | None = field(default=None, repr=False)
    local_index: int = 0
    remote_index: int = 0
    ephemeral: bytes = field(default=b"", repr=False)
    remote_ephemeral: bytes = b""


_NOTHING: Final = _Progress(HandshakeState.ZEROED)


class Handshake:
    """A handshake with the peer *remote*.

    `preshared_key` may be set at any time and counts from the next response on.
    A peer whose key has low order can be configured; every step with it raises
    `BadPacket` (WEAK_KEY).
    """

    def __init__(
        self, identity: Identity, remote: PublicKey, preshared_key: PresharedKey
    ) -> None:
        self.preshared_key = preshared_key
        self._identity = identity
        self._remote = remote
        self._initial = Transcript.begin(remote.raw)
        self._progress = _NOTHING
        # Computed when first needed: of many thousand peers few ever speak.
        self._static_secret: bytes | None = None

    @property
    def state(self) -> HandshakeState:
        """How far it has got."""
        return self._progress.state

    @property
    def local_index(self) -> int:
        """The index the peer answers to; 0 for none.

        `create_initiation`, `accept_initiation`, `derive_keys` and `clear` end the
        use of the one before: release it, or hand it to the key pair.
        """
        return self._progress.local_index

    def clear(self) -> None:
        """Forget whatever was under way."""
        self._progress = _NOTHING

    def another(self) -> "Handshake":
        """Return one more with the same peer and keys, in which nothing is under way.

        It costs no Diffie-Hellman.
        """
        other = copy.copy(self)
        other.clear()
        return other

    def create_initiation(
        self, *, local_index: int, ephemeral: bytes, timestamp: bytes
    ) -> Initiation:
        """Begin anew as initiator (5.4.2); the MACs of the message are zero.

        *ephemeral* is 32 fresh random bytes, *timestamp* a TAI64N label.

        Raises:
            BadPacket: WEAK_KEY.
        """
        if len(ephemeral) != KEY_SIZE or len(timestamp) != LABEL_SIZE:
            raise ValueError("the ephemeral has 32 bytes and the timestamp 12")
        ephemeral_public = x25519_base(ephemeral)
        transcript = self._initial.mix_ephemeral(ephemeral_public)
        transcript, key = transcript.mix_secret_to_key(
            _agree(ephemeral, self._remote.raw)
        )
        transcript, encrypted_static = transcript.seal(
            key, self._identity.public_key.raw
        )
        transcript, key = transcript.mix_secret_to_key(self._require_static_secret())
        transcript, encrypted_timestamp = transcript.seal(key, timestamp)
        self._progress = _Progress(
            self._state_after(_Step.CREATE_INITIATION),
            transcript,
            local_index=local_index,
            ephemeral=ephemeral,
        )
        return Initiation(
            local_index, ephemeral_public, encrypted_static, encrypted_timestamp
        )

    def open_initiation(
        self, claim: InitiatorClaim, initiation: Initiation
    ) -> OpenedInitiation:
        """Authenticate an initiation; nothing changes.

        The caller decides by its timestamp whether to accept it.

        Raises:
            BadPacket: BAD_HANDSHAKE or WEAK_KEY.
            ValueError: if the claim is another peer's.
        """
        self._require_remote(claim.public_key)
        transcript, key = claim.transcript.mix_secret_to_key(
            self._require_static_secret()
        )
        transcript, timestamp = _open(transcript, key, initiation.encrypted_timestamp)
        return OpenedInitiation(
            claim.public_key,
            timestamp,
            initiation.sender,
            initiation.ephemeral,
            transcript,
        )

    def accept_initiation(self, opened: OpenedInitiation) -> None:
        """Become responder to an initiation whose timestamp was found new.

        Raises:
            ValueError: if it is another peer's.
        """
        self._require_remote(opened.public_key)
        self._progress = _Progress(
            self._state_after(_Step.ACCEPT_INITIATION),
            opened.transcript,
            remote_index=opened.remote_index,
            remote_ephemeral=opened.remote_ephemeral,
        )

    def create_response(self, *, local_index: int, ephemeral: bytes) -> Response:
        """Answer the accepted initiation (5.4.3); the MACs of the message are zero.

        *ephemeral* is 32 fresh random bytes.

        Raises:
            BadPacket: WEAK_KEY.
            RuntimeError: if no initiation was accepted.
        """
        state = self._state_after(_Step.CREATE_RESPONSE)
        progress = self._progress
        ephemeral_public = x25519_base(ephemeral)
        transcript = _require_transcript(progress).mix_ephemeral(ephemeral_public)
        transcript = transcript.mix_secret(_agree(ephemeral, progress.remote_ephemeral))
        transcript = transcript.mix_secret(_agree(ephemeral, self._remote.raw))
        transcript, key = transcript.mix_preshared_key(self.preshared_key.reveal())
        transcript, encrypted_nothing = transcript.seal(key, b"")
        self._progress = replace(
            progress, state=state, transcript=transcript, local_index=local_index
        )
        return Response(
            local_index, progress.remote_index, ephemeral_public, encrypted_nothing
        )

    def consume_response(self, response: Response) -> None:
        """Take the answer to our initiation.

        Nothing of it is kept before all of it has authenticated.

        Raises:
            BadPacket: WRONG_STATE if we do not wait for it, under this index;
                WEAK_KEY or BAD_HANDSHAKE. The true response may still come.
        """
        progress = self._progress
        expected_states, state = _TRANSITIONS[_Step.CONSUME_RESPONSE]
        if (
            progress.state not in expected_states
            or response.receiver != progress.local_index
        ):
            raise BadPacket(DropReason.WRONG_STATE)
        transcript = _require_transcript(progress).mix_ephemeral(response.ephemeral)
        transcript = transcript.mix_secret(
            _agree(progress.ephemeral, response.ephemeral)
        )
        transcript = transcript.mix_secret(
            _agree(self._identity.private_key.reveal(), response.ephemeral)
        )
        transcript, key = transcript.mix_preshared_key(self.preshared_key.reveal())
        transcript, _ = _open(transcript, key, response.encrypted_nothing)
        self._progress = replace(
            progress, state=state, transcript=transcript, remote_index=response.sender
        )

    def derive_keys(self) -> DerivedKeys:
        """Return the session's keys and indices, and forget the handshake (5.4.5).

        Raises:
            RuntimeError: if the handshake is not complete.
        """
        self._state_after(_Step.DERIVE_KEYS)
        progress = self._progress
        is_initiator = progress.state is HandshakeState.CONSUMED_RESPONSE
        to_responder, to_initiator = _require_transcript(progress).split()
        self._progress = _NOTHING
        return DerivedKeys(
            send_key=to_responder if is_initiator else to_initiator,
            receive_key=to_initiator if is_initiator else to_responder,
            local_index=progress.local_index,
            remote_index=progress.remote_index,
            is_initiator=is_initiator,
        )

    def _require_remote(self, public_key: PublicKey) -> None:
        if public_key != self._remote:
            raise ValueError("this initiation claims to be another peer's")

    def _require_static_secret(self) -> bytes:
        if self._static_secret is None:
            private = self._identity.private_key.reveal()
            self._static_secret = _agree(private, self._remote.raw)
        return self._static_secret

    def _state_after(self, step: _Step) -> HandshakeState:
        sources, target = _TRANSITIONS[step]
        if self._progress.state not in sources:
            raise RuntimeError(f"cannot {step.name} in {self._progress.state.name}")
        return target


def _require_transcript(progress: _Progress) -> Transcript:
    if progress.transcript is None:
        raise RuntimeError("no handshake is under way")
    return progress.transcript


def _agree(private: bytes, public: bytes) -> bytes:
    try:
        return x25519(private, public)
    except AuthenticationError:
        raise BadPacket(DropReason.WEAK_KEY) from None


def _open(
    transcript: Transcript, key: bytes, sealed: bytes
) -> tuple[Transcript, bytes]:
    try:
        return transcript.open(key, sealed)
    except AuthenticationError:
        raise BadPacket(DropReason.BAD_HANDSHAKE) from None
