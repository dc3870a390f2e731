"""The certificate, as others read it."""

import random

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from meshnode.mesh.tls_leaf import create_leaf


def test_certificate_is_sound(rng: random.Random) -> None:
    """It is signed by its key, which is in the PEM; it names nobody and never ends."""
    for _ in range(20):
        certificate, pem = create_leaf(rng.randbytes(32), rng.randbytes(16))
        read = x509.load_der_x509_certificate(certificate)
        key = read.public_key()
        assert isinstance(key, Ed25519PublicKey)
        key.verify(read.signature, read.tbs_certificate_bytes)
        assert read.serial_number.bit_length() <= 127
        assert read.subject.rfc4514_string() == "CN=localhost"
        assert read.not_valid_after_utc.year == 9999
        assert x509.load_pem_x509_certificate(pem.encode()) == read
        private = load_pem_private_key(
            pem.partition("-----END CERTIFICATE-----\n")[2].encode(), None
        )
        raw = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        assert raw == key.public_bytes(Encoding.Raw, PublicFormat.Raw)
