"""Keys and papers that belong together, as the files of a node show it."""

import pytest

from meshnode.codec.record_bytes import (
    encode_charter,
    serialise_envelope,
    signed_bytes,
)
from meshnode.codec.records import Charter, Envelope, Kind
from meshnode.crypto.keys import PrivateKey
from meshnode.crypto.primitives import blake2s
from meshnode.crypto.signing import SigningKey
from meshnode.errors import ConfigError
from meshnode.manage.identity_check import (
    Papers,
    check_charters,
    check_issuing,
    check_papers,
)
from meshnode.types import Prefix

AUTHORITY = SigningKey(b"\x0a" * 32)
NETWORK_ID = blake2s(AUTHORITY.public)[:16]


def charter(version: int, *, signed_for: bytes = NETWORK_ID) -> bytes:
    """A charter's envelope."""
    value = Charter(
        NETWORK_ID,
        version,
        "home",
        Prefix.parse("10.77.0.0/16"),
        (AUTHORITY.public,),
        1,
    )
    body = encode_charter(value)
    signature = AUTHORITY.sign(signed_bytes(signed_for, Kind.CHARTER, body))
    return serialise_envelope(Envelope(Kind.CHARTER, AUTHORITY.public, signature, body))


def test_a_chain_is_complete_and_signed() -> None:
    """From version 1 on, each by its signer's own signature."""
    assert check_charters((charter(1), charter(2))).network_id == NETWORK_ID
    for bad in (
        (),
        (charter(2),),
        (charter(1), charter(1)),
        (charter(1), charter(3)),
        (charter(1, signed_for=bytes(16)),),
        (charter(1), charter(2)[:-1]),
        (charter(1), b""),
    ):
        with pytest.raises(ConfigError, match=r"^network: "):
            check_charters(bad)


def test_every_error_names_a_file() -> None:
    """Bytes that are nothing, wherever they are."""
    key, signing_key = PrivateKey(b"\x01" * 32), SigningKey(b"\x02" * 32)
    with pytest.raises(
        ConfigError, match=r"^certificate: holds what is no certificate"
    ):
        check_papers(Papers(b"x", b"", (charter(1),)), key, signing_key)
    with pytest.raises(ConfigError, match=r"^network: holds what is no charter"):
        check_papers(Papers(b"x", b"", (b"x",)), key, signing_key)
    with pytest.raises(ConfigError, match=r"^issuer: holds what is no issuer"):
        check_issuing(NETWORK_ID, signing_key, charter(1))
