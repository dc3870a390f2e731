"""The paper's KDF against HKDF of another library."""

from cryptography.hazmat.primitives.hashes import BLAKE2s
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from meshnode.crypto.kdf import kdf1, kdf2, kdf3


@given(key=st.binary(min_size=1, max_size=64), data=st.binary(max_size=64))
def test_kdf_is_hkdf_over_hmac_blake2s(key: bytes, data: bytes) -> None:
    """KDFn gives the first n blocks of HKDF (RFC 5869) with the key as salt."""
    hkdf = HKDF(algorithm=BLAKE2s(32), length=96, salt=key, info=b"")
    okm = hkdf.derive(data)
    blocks = (okm[:32], okm[32:64], okm[64:])
    assert kdf3(key, data) == blocks
    assert kdf2(key, data) == blocks[:2]
    assert kdf1(key, data) == blocks[0]
