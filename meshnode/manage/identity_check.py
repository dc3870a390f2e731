"""Whether keys and papers belong together, before any of them is used.

A certificate must be of both keys and signed for this network; an issuer's envelope
must be of the key that signed. An error begins with the name of the file that is at
odds. Whether an authority allowed it all is for `meshnode.mesh` to judge.
"""

from collections.abc import Callable
from typing import Final, TypeVar

from meshnode.codec.record_bytes import (
    decode_certificate,
    decode_charter,
    decode_issuer,
    parse_envelope,
    signed_bytes,
)
from meshnode.codec.records import Charter, Envelope, Kind
from meshnode.crypto.keys import PrivateKey
from meshnode.crypto.signing import SigningKey, verify
from meshnode.errors import AuthenticationError, CodecError, ConfigError
from meshnode.values import frozen

Body = TypeVar("Body")

CERTIFICATE_FILE: Final = "certificate"
NETWORK_FILE: Final = "network"
ISSUER_FILE: Final = "issuer"
WIREGUARD_FILE: Final = "wireguard.key"
SIGNING_FILE: Final = "signing.key"
ISSUING_FILE: Final = "issuing.key"

_RESTORE = "restore both from the same copy, or join again"


@frozen
class Papers:
    """What a network gives a new member.

    `certificate` and `issuer` are envelopes (`issuer` b"" if an authority signed the
    certificate); `charters` the chain of charters, oldest first.
    """

    certificate: bytes
    issuer: bytes
    charters: tuple[bytes, ...]


def check_papers(
    papers: Papers, private_key: PrivateKey, signing_key: SigningKey
) -> bytes:
    """Check that *papers* are for these keys; return the network id, 16 bytes.

    Raises:
        ConfigError: naming the file that is at odds with the others.
    """
    charter = check_charters(papers.charters)
    envelope, certificate = _opened(
        papers.certificate, Kind.CERTIFICATE, decode_certificate, CERTIFICATE_FILE
    )
    if certificate.wireguard_key != private_key.public_key().raw:
        raise _at_odds(CERTIFICATE_FILE, f"is not that of {WIREGUARD_FILE}; {_RESTORE}")
    if certificate.signing_key != signing_key.public:
        raise _at_odds(CERTIFICATE_FILE, f"is not that of {SIGNING_FILE}; {_RESTORE}")
    _check_signature(charter.network_id, envelope, CERTIFICATE_FILE)
    if papers.issuer:
        signer, issuer = _opened(
            papers.issuer, Kind.ISSUER, decode_issuer, CERTIFICATE_FILE
        )
        if issuer.issuing_key != envelope.signer:
            raise _at_odds(CERTIFICATE_FILE, "was signed by another issuer than it has")
        _check_signature(charter.network_id, signer, CERTIFICATE_FILE)
    return charter.network_id


def check_charters(charters: tuple[bytes, ...]) -> Charter:
    """Check that *charters* are a chain of one network; return the first.

    Raises:
        ConfigError: naming the file, if they are not.
    """
    found = [
        _opened(data, Kind.CHARTER, decode_charter, NETWORK_FILE) for data in charters
    ]
    if not found:
        raise _at_odds(NETWORK_FILE, "has no charter; restore it from a copy")
    first = found[0][1]
    for number, (envelope, charter) in enumerate(found, 1):
        if charter.version != number or charter.network_id != first.network_id:
            raise _at_odds(NETWORK_FILE, "is no chain of charters; restore it")
        _check_signature(first.network_id, envelope, NETWORK_FILE)
    return first


def check_issuing(network_id: bytes, key: SigningKey, envelope: bytes) -> None:
    """Check that *envelope* is that of the issuing key *key*.

    Raises:
        ConfigError: naming the file, if it is not.
    """
    signer, issuer = _opened(envelope, Kind.ISSUER, decode_issuer, ISSUER_FILE)
    if issuer.issuing_key != key.public:
        raise _at_odds(
            ISSUER_FILE,
            f"is not that of {ISSUING_FILE}; restore both from the same copy",
        )
    _check_signature(network_id, signer, ISSUER_FILE)


def _opened(
    data: bytes, kind: Kind, decode: Callable[[bytes], Body], file: str
) -> tuple[Envelope, Body]:
    try:
        envelope = parse_envelope(data)
        if envelope.kind is not kind:
            raise CodecError("of another kind")
        return envelope, decode(envelope.body)
    except CodecError:
        word = kind.name.lower()
        raise _at_odds(file, f"holds what is no {word}; restore it") from None


def _check_signature(network_id: bytes, envelope: Envelope, file: str) -> None:
    signed = signed_bytes(network_id, envelope.kind, envelope.body)
    try:
        verify(envelope.signer, signed, envelope.signature)
    except AuthenticationError:
        raise _at_odds(
            file, f"is not signed for the network in {NETWORK_FILE}; {_RESTORE}"
        ) from None


def _at_odds(file: str, text: str) -> ConfigError:
    return ConfigError(f"{file}: {text}")
