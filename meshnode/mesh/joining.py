"""The joiner's side of an invite, sans-IO: what it asks for, and what it believes.

    joining.receive(message, wall=...)      # messages of the issuer
    joining.messages_to_send(now=...)       # what is due, asked again every second
    joining.next_deadline()
    joining.result                          # once it is not None, all is verified

Everything is verified against the network id of the token, so the issuer can only
give what the network's authority allowed it to. The steps are one after the other:
how many charters there are, the charters, the certificate. Beside the certificate the
issuer pushes its own member record; until that has come, too, both are asked for.
"""

from collections.abc import Callable
from typing import Final

from meshnode.codec.messages import (
    Chunk,
    Fetch,
    Hello,
    JoinReply,
    JoinRequest,
    Message,
    Push,
    Refused,
)
from meshnode.codec.record_bytes import parse_envelope
from meshnode.codec.records import Kind
from meshnode.errors import CodecError, MeshnodeError
from meshnode.mesh.charters import MAX_CHARTERS
from meshnode.mesh.refusal import RecordRefused, Refusal
from meshnode.mesh.trust import Trust
from meshnode.values import frozen

RETRY_AFTER: Final = 1.0
"""Seconds until a request is sent again."""


class JoinRefusedError(MeshnodeError):
    """The issuer said no, or gave what the network's authority did not sign."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@frozen
class JoinResult:
    """What a new member begins with, all of it verified.

    `charters` is the chain, `certificate` and `issuer` are envelopes (`issuer` b"" if
    an authority signed), `issuer_record` the member record of who issued it.
    """

    charters: tuple[bytes, ...]
    certificate: bytes
    issuer: bytes
    issuer_record: bytes


class Joining:
    """One attempt to join; see the module for how it is driven.

    Args:
        trust: an empty one, of the network the token names.
        request: what the certificate is asked with.
        key: our WireGuard key, which the certificate must name.
        issuer_key: the WireGuard key of the issuer.
    """

    def __init__(
        self, trust: Trust, request: JoinRequest, *, key: bytes, issuer_key: bytes
    ) -> None:
        self.result: JoinResult | None = None
        self._trust = trust
        self._request = request
        self._key = key
        self._issuer_key = issuer_key
        self._chain_length = 0
        self._charters: list[bytes] = []
        self._reply: JoinReply | None = None
        self._step: Callable[[], Message] = self._greet
        self._due_at = 0.0

    def messages_to_send(self, *, now: float) -> list[Message]:
        """Return what is due at *now*, boottime seconds."""
        if self.result is not None or now < self._due_at:
            return []
        self._due_at = now + RETRY_AFTER
        return [self._step()]

    def next_deadline(self) -> float:
        """Return when `messages_to_send` has something again, boottime seconds."""
        return self._due_at

    def receive(self, message: Message, *, wall: int) -> None:
        """Take an answer of the issuer.

        Raises:
            JoinRefusedError: if it refused, or nothing it says can be believed.
        """
        try:
            match message:
                case Refused(code, text):
                    raise JoinRefusedError(code, text)
                case Hello(charter=length):
                    self._take_length(length)
                case Chunk(kind=Kind.CHARTER):
                    self._take_charter(message)
                case JoinReply():
                    self._take_certificate(message, wall)
                case Push(records) if self._reply is not None:
                    self._take_issuer(records, self._reply, wall)
        except (RecordRefused, CodecError) as refusal:
            raise JoinRefusedError(
                "untrusted",
                f"the issuer's answer is not of this network ({refusal}): ask for "
                "another invite",
            ) from None

    def _next(self, step: Callable[[], Message]) -> None:
        self._step = step
        self._due_at = 0.0

    def _greet(self) -> Message:
        # The answer tells how long the chain of charters is.
        return Hello(bytes(8), 0, 0, 0, wants_answer=True)

    def _ask_charter(self) -> Message:
        return Fetch(Kind.CHARTER, len(self._charters) + 1, 0)

    def _ask_certificate(self) -> Message:
        return self._request

    def _take_length(self, length: int) -> None:
        if self._chain_length:
            return  # an answer to an earlier question
        if not 1 <= length <= MAX_CHARTERS:
            raise JoinRefusedError("untrusted", "the issuer's chain has no sane length")
        self._chain_length = length
        self._next(self._ask_charter)

    def _take_charter(self, chunk: Chunk) -> None:
        known = len(self._charters)
        # A charter is an envelope, so one chunk holds all of it.
        whole = chunk.offset == 0 and len(chunk.data) == chunk.total
        if chunk.version != known + 1 or known == self._chain_length or not whole:
            return
        if not self._trust.add_charter(chunk.data):
            raise RecordRefused(Refusal.CHARTER_GAP)
        self._charters.append(chunk.data)
        is_last = known + 1 == self._chain_length
        self._next(self._ask_certificate if is_last else self._ask_charter)

    def _take_certificate(self, reply: JoinReply, wall: int) -> None:
        has_chain = 0 < self._chain_length == len(self._charters)
        if self._reply is not None or not has_chain:
            return
        certificate = parse_envelope(reply.certificate)
        issuer = parse_envelope(reply.issuer) if reply.issuer else None
        verified = self._trust.verify_certificate(certificate, issuer, wall=wall)
        ours = verified.certificate
        if (ours.wireguard_key, ours.signing_key) != (
            self._key,
            self._request.signing_key,
        ):
            raise JoinRefusedError("untrusted", "the certificate is for another host")
        self._reply = reply

    def _take_issuer(
        self, records: tuple[bytes, ...], reply: JoinReply, wall: int
    ) -> None:
        for record in records:
            member = self._trust.verify_member(record, wall=wall)
            if member.key == self._issuer_key:
                self.result = JoinResult(
                    charters=tuple(self._charters),
                    certificate=reply.certificate,
                    issuer=reply.issuer,
                    issuer_record=record,
                )
                return
