"""Envelopes are opened from the outside in."""

from dataclasses import replace

import pytest

from meshnode.codec.record_bytes import serialise_envelope, signed_bytes
from meshnode.codec.records import MAX_POLICY_BYTES, Envelope, Kind
from meshnode.errors import CodecError
from meshnode.mesh.envelopes import open_signed, parse_signed, require_kind
from meshnode.mesh.refusal import RecordRefused, Refusal
from tests.certified_network import NETWORK_ID, signing_key

KEY = signing_key(9)
ORDER = 2**252 + 27742317777372353535851937790883648493


def enveloped(kind: Kind, body: bytes) -> Envelope:
    """Return a signed envelope."""
    signature = KEY.sign(signed_bytes(NETWORK_ID, kind, body))
    return Envelope(kind, KEY.public, signature, body)


def never(_: bytes) -> None:
    """Fail if a body is decoded."""
    raise AssertionError("decoded before it was verified")


def test_a_signed_body_is_decoded() -> None:
    """And returned as the decoder gave it."""
    envelope = enveloped(Kind.MEMBER, b"body")
    assert open_signed(NETWORK_ID, envelope, bytes.upper) == b"BODY"


@pytest.mark.parametrize(
    "changed",
    [
        {"kind": Kind.CERTIFICATE},
        {"signer": signing_key(8).public},
        {"signer": bytes(32)},
        {"signature": bytes(64)},
        {"body": b"Body"},
        {"body": b""},
    ],
)
def test_nothing_of_an_envelope_can_be_exchanged(changed: dict[str, object]) -> None:
    """Kind, signer, signature, body: and the body is not even decoded."""
    envelope = replace(enveloped(Kind.MEMBER, b"body"), **changed)  # type: ignore[arg-type]
    with pytest.raises(RecordRefused) as caught:
        open_signed(NETWORK_ID, envelope, never)
    assert caught.value.reason is Refusal.BAD_SIGNATURE


def test_an_envelope_of_another_network_does_not_verify() -> None:
    """The network's id is part of what is signed."""
    with pytest.raises(RecordRefused) as caught:
        open_signed(bytes(16), enveloped(Kind.MEMBER, b"body"), never)
    assert caught.value.reason is Refusal.BAD_SIGNATURE


def test_a_malleated_signature_does_not_verify() -> None:
    """S + L is the same number to the curve, and another record to the mesh."""
    envelope = enveloped(Kind.MEMBER, b"body")
    scalar = int.from_bytes(envelope.signature[32:], "little") + ORDER
    other = envelope.signature[:32] + scalar.to_bytes(32, "little")
    with pytest.raises(RecordRefused) as caught:
        open_signed(NETWORK_ID, replace(envelope, signature=other), never)
    assert caught.value.reason is Refusal.BAD_SIGNATURE


def test_a_signed_body_that_is_none_is_refused() -> None:
    """A signature does not make sense of nonsense."""

    def refuse(_: bytes) -> None:
        raise CodecError("no")

    with pytest.raises(RecordRefused) as caught:
        open_signed(NETWORK_ID, enveloped(Kind.MEMBER, b"body"), refuse)
    assert caught.value.reason is Refusal.MALFORMED


def test_parsing_checks_kind_and_bytes_only() -> None:
    """The wrong kind and trailing bytes have their reasons."""
    data = serialise_envelope(enveloped(Kind.MEMBER, b"body"))
    assert parse_signed(data, Kind.MEMBER).body == b"body"
    for other, kind, reason in (
        (data, Kind.POLICY, Refusal.WRONG_KIND),
        (data + b"\0", Kind.MEMBER, Refusal.MALFORMED),
        (data[:-1], Kind.MEMBER, Refusal.MALFORMED),
        (b"", Kind.MEMBER, Refusal.MALFORMED),
    ):
        with pytest.raises(RecordRefused) as caught:
            parse_signed(other, kind)
        assert caught.value.reason is reason


def test_only_a_policy_may_be_long() -> None:
    """Other kinds end at the length of an envelope."""
    data = serialise_envelope(enveloped(Kind.POLICY, bytes(MAX_POLICY_BYTES - 200)))
    assert parse_signed(data, Kind.POLICY)
    with pytest.raises(RecordRefused) as caught:
        parse_signed(data, Kind.MEMBER)
    assert caught.value.reason is Refusal.MALFORMED


def test_kinds_are_told_apart() -> None:
    """`require_kind` lets only the one pass."""
    envelope = enveloped(Kind.MEMBER, b"")
    require_kind(envelope, Kind.MEMBER)
    with pytest.raises(RecordRefused):
        require_kind(envelope, Kind.CERTIFICATE)
