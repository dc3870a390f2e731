"""The certificate of a TLS server: X.509 as short as TLS takes it, for a fresh key.

Nobody trusts it: `mesh.tls_proof` says who has it. It is signed by its own key
(Ed25519, RFC 8410), names nobody and never ends (RFC 5280, 4.1.2.5).
"""

import base64
from typing import Final

from meshnode.crypto.signing import SigningKey

_INTEGER, _BIT_STRING, _OCTET_STRING, _OID = 0x02, 0x03, 0x04, 0x06
_UTF8, _UTC_TIME, _GENERALIZED_TIME = 0x0C, 0x17, 0x18
_SEQUENCE, _SET = 0x30, 0x31

_BEGIN: Final = b"200101000000Z"
_NEVER: Final = b"99991231235959Z"
_SERIAL_BYTES: Final = 16


def create_leaf(seed: bytes, serial: bytes) -> tuple[bytes, str]:
    """Return a certificate (DER), and it and its key as one PEM text.

    Args:
        seed: 32 fresh random bytes: the secret key.
        serial: 16 random bytes.
    """
    key = SigningKey(seed)
    algorithm = _tlv(_SEQUENCE, _tlv(_OID, b"\x2b\x65\x70"))
    common_name = _tlv(_OID, b"\x55\x04\x03") + _tlv(_UTF8, b"localhost")
    name = _tlv(_SEQUENCE, _tlv(_SET, _tlv(_SEQUENCE, common_name)))
    validity = _tlv(_UTC_TIME, _BEGIN) + _tlv(_GENERALIZED_TIME, _NEVER)
    # Positive, and of its full length: the first byte is 0x40 to 0x7f.
    number = bytes([0x40 | serial[0] & 0x3F]) + serial[1:_SERIAL_BYTES]
    body = _tlv(
        _SEQUENCE,
        _tlv(_INTEGER, number)
        + algorithm
        + name
        + _tlv(_SEQUENCE, validity)
        + name
        + _tlv(_SEQUENCE, algorithm + _bits(key.public)),
    )
    certificate = _tlv(_SEQUENCE, body + algorithm + _bits(key.sign(body)))
    private = _tlv(_OCTET_STRING, _tlv(_OCTET_STRING, seed))
    pkcs8 = _tlv(_SEQUENCE, _tlv(_INTEGER, b"\0") + algorithm + private)
    pem = _pem("CERTIFICATE", certificate) + _pem("PRIVATE KEY", pkcs8)
    return certificate, pem


def _tlv(tag: int, value: bytes) -> bytes:
    size = len(value)
    if size < 0x80:
        return bytes([tag, size]) + value
    length = size.to_bytes(2 if size > 0xFF else 1, "big")
    return bytes([tag, 0x80 | len(length)]) + length + value


def _bits(value: bytes) -> bytes:
    return _tlv(_BIT_STRING, b"\0" + value)


def _pem(label: str, data: bytes) -> str:
    lines = base64.encodebytes(data).decode("ascii")
    return f"-----BEGIN {label}-----\n{lines}-----END {label}-----\n"
