"""Envelopes from the outside in: parse, check kind and signature, decode the body.

The order is what keeps strangers out: a body is decoded only after somebody has
answered for it with a signature.
"""

from collections.abc import Callable
from typing import TypeVar

from meshnode.codec.record_bytes import parse_envelope, signed_bytes
from meshnode.codec.records import (
    MAX_ENVELOPE_BYTES,
    MAX_POLICY_BYTES,
    Envelope,
    Kind,
)
from meshnode.crypto.signing import verify
from meshnode.errors import AuthenticationError, CodecError
from meshnode.mesh.refusal import RecordRefused, Refusal

Body = TypeVar("Body")


def parse_signed(data: bytes, kind: Kind) -> Envelope:
    """Return the envelope that *data* is, if it holds a body of this kind.

    Raises:
        RecordRefused: if it is none; the signature is not verified yet.
    """
    limit = MAX_POLICY_BYTES if kind is Kind.POLICY else MAX_ENVELOPE_BYTES
    try:
        envelope = parse_envelope(data, max_bytes=limit)
    except CodecError:
        raise RecordRefused(Refusal.MALFORMED) from None
    require_kind(envelope, kind)
    return envelope


def require_kind(envelope: Envelope, kind: Kind) -> None:
    """Check that the envelope holds a body of this kind."""
    if envelope.kind is not kind:
        raise RecordRefused(Refusal.WRONG_KIND)


def open_signed(
    network_id: bytes, envelope: Envelope, decode: Callable[[bytes], Body]
) -> Body:
    """Return the body, decoded by *decode* once the signature has verified.

    Raises:
        RecordRefused: if it was not signed by `envelope.signer` for this network, or
            is not the canonical encoding of anything.
    """
    data = signed_bytes(network_id, envelope.kind, envelope.body)
    try:
        verify(envelope.signer, data, envelope.signature)
        return decode(envelope.body)
    except AuthenticationError:
        raise RecordRefused(Refusal.BAD_SIGNATURE) from None
    except CodecError:
        raise RecordRefused(Refusal.MALFORMED) from None
