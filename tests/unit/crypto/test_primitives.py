"""The primitives against published answers, and the errors they promise."""

import hashlib
import hmac
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given
from hypothesis import strategies as st

from meshnode.crypto import primitives
from meshnode.errors import AuthenticationError

VECTORS = json.loads(
    (Path(__file__).parents[2] / "vectors" / "primitives.json").read_text()
)
KEY = bytes(range(32))
NONCE = bytes(range(24))

# The points of low order, and two more encodings of them, all below 2^255.
LOW_ORDER = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]


def unhex(vector: dict[str, str], *names: str) -> list[bytes]:
    """Return some fields of a vector as bytes."""
    return [bytes.fromhex(vector[name]) for name in names]


@pytest.mark.parametrize("vector", VECTORS["x25519"], ids=lambda v: v["source"])
def test_x25519_gives_the_published_secret(vector: dict[str, str]) -> None:
    """X25519 agrees with RFC 7748."""
    private, public, shared = unhex(vector, "private", "public", "shared")
    assert primitives.x25519(private, public) == shared


def test_x25519_gives_the_published_secret_after_a_thousand_rounds() -> None:
    """The iterated test of RFC 7748 comes out right after 1 and 1000 rounds."""
    once, thousand = unhex(VECTORS["x25519_iterated"], "once", "thousand")
    k = u = (9).to_bytes(32, "little")
    results = []
    for _ in range(1000):
        k, u = primitives.x25519(k, u), k
        results.append(k)
    assert (results[0], results[-1]) == (once, thousand)


@pytest.mark.parametrize("vector", VECTORS["x25519_base"], ids=lambda v: v["source"])
def test_x25519_base_gives_the_published_key(vector: dict[str, str]) -> None:
    """The public key agrees with RFC 7748."""
    private, public = unhex(vector, "private", "public")
    assert primitives.x25519_base(private) == public


@pytest.mark.parametrize("point", LOW_ORDER)
def test_x25519_refuses_an_all_zero_secret(point: str) -> None:
    """A public key of low order is an authentication failure, never a secret."""
    with pytest.raises(AuthenticationError):
        primitives.x25519(KEY, bytes.fromhex(point))


@pytest.mark.parametrize(("private", "public"), [(31, 32), (32, 33), (0, 32), (32, 0)])
def test_x25519_refuses_keys_of_another_length(private: int, public: int) -> None:
    """Keys that are not 32 bytes never reach the library, which reads 32."""
    with pytest.raises(ValueError, match="32 bytes"):
        primitives.x25519(b"a" * private, b"b" * public)


def test_x25519_base_refuses_a_short_key() -> None:
    """A short private key never reaches the library."""
    with pytest.raises(ValueError, match="32 bytes"):
        primitives.x25519_base(b"a" * 31)


@pytest.mark.parametrize("vector", VECTORS["blake2s"], ids=lambda v: v["source"])
def test_blake2s_gives_the_published_digest(vector: dict[str, str]) -> None:
    """HASH agrees with RFC 7693, and the library's keyed mode with its reference."""
    key, data, digest = unhex(vector, "key", "data", "digest")
    if key:
        assert hashlib.blake2s(data, key=key).digest() == digest
    else:
        assert primitives.blake2s(data) == digest


@pytest.mark.parametrize("size", [1, 8, 16, 32])
def test_short_hashes_are_the_beginning_of_blake2s(size: int) -> None:
    """They are cut from the whole digest, not BLAKE2s of another output length."""
    assert primitives.short_hash(b"data", size) == primitives.blake2s(b"data")[:size]
    assert primitives.fingerprint(b"data") == primitives.blake2s(b"data")[:8]


def test_mac_is_keyed_blake2s_of_16_bytes() -> None:
    """MAC is BLAKE2s with a key and 16 bytes of output: not cut, and not HMAC."""
    expected = hashlib.blake2s(b"data", key=KEY, digest_size=16).digest()
    assert primitives.mac(KEY, b"data") == expected
    assert expected != hashlib.blake2s(b"data", key=KEY).digest()[:16]
    assert expected != primitives.hmac_blake2s(KEY, b"data")[:16]


@pytest.mark.parametrize("size", [0, 33])
def test_mac_refuses_a_key_that_is_none_or_too_long(size: int) -> None:
    """An empty key would silently mean no key."""
    with pytest.raises(ValueError, match="MAC key"):
        primitives.mac(bytes(size), b"data")


@given(key=st.binary(max_size=130), data=st.binary(max_size=200))
def test_hmac_equals_the_standard_librarys(key: bytes, data: bytes) -> None:
    """HMAC-BLAKE2s agrees with `hmac`, for keys longer than a block too."""
    expected = hmac.new(key, data, hashlib.blake2s).digest()
    assert primitives.hmac_blake2s(key, data) == expected


@pytest.mark.parametrize("size", [63, 64, 65, 128])
def test_hmac_hashes_a_key_longer_than_a_block(size: int) -> None:
    """RFC 2104: a key of up to 64 bytes is used as it is, a longer one is hashed."""
    key = bytes(range(size))
    expected = hmac.new(key, b"data", hashlib.blake2s).digest()
    assert primitives.hmac_blake2s(key, b"data") == expected


@pytest.mark.parametrize(
    "vector", VECTORS["chacha20poly1305"], ids=lambda v: v["source"]
)
def test_aead_gives_the_published_ciphertext(vector: dict[str, str]) -> None:
    """ChaCha20-Poly1305 agrees with RFC 8439; its nonce is 4 zeros and LE64."""
    key, aad, plaintext, sealed = unhex(vector, "key", "aad", "plaintext", "ciphertext")
    counter = int(vector["counter"])
    assert primitives.aead_seal(key, counter, plaintext, aad) == sealed
    assert primitives.aead_open(key, counter, sealed, aad) == plaintext


@given(
    counter=st.integers(0, 2**64 - 1),
    plaintext=st.binary(max_size=100),
    aad=st.binary(max_size=40),
)
def test_aead_agrees_with_another_library(
    counter: int, plaintext: bytes, aad: bytes
) -> None:
    """Any counter, text and associated data give what OpenSSL gives."""
    nonce = bytes(4) + counter.to_bytes(8, "little")
    sealed = primitives.aead_seal(KEY, counter, plaintext, aad)
    assert sealed == ChaCha20Poly1305(KEY).encrypt(nonce, plaintext, aad)
    assert primitives.aead_open(KEY, counter, sealed, aad) == plaintext


@pytest.mark.parametrize("counter", [-1, 2**64])
def test_aead_refuses_counters_that_would_wrap(counter: int) -> None:
    """Integers here do not wrap, so the limit is explicit, in both directions."""
    with pytest.raises(ValueError, match="counter"):
        primitives.aead_seal(KEY, counter, b"", b"")
    with pytest.raises(ValueError, match="counter"):
        primitives.aead_open(KEY, counter, bytes(16), b"")


def test_aead_open_refuses_every_changed_bit_and_every_length() -> None:
    """Flip any bit, or cut the ciphertext anywhere: it does not open."""
    sealed = primitives.aead_seal(KEY, 1, b"text", b"aad")
    for bit in range(8 * len(sealed)):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(AuthenticationError):
            primitives.aead_open(KEY, 1, bytes(changed), b"aad")
    for size in range(len(sealed)):
        with pytest.raises(AuthenticationError):
            primitives.aead_open(KEY, 1, sealed[:size], b"aad")


@pytest.mark.parametrize(
    ("key", "counter", "aad"),
    [(bytes(32), 1, b"aad"), (KEY, 2, b"aad"), (KEY, 1, b""), (KEY, 1, b"aae")],
)
def test_aead_open_refuses_another_context(
    key: bytes, counter: int, aad: bytes
) -> None:
    """Key, counter and associated data are all authenticated."""
    sealed = primitives.aead_seal(KEY, 1, b"text", b"aad")
    with pytest.raises(AuthenticationError):
        primitives.aead_open(key, counter, sealed, aad)


@pytest.mark.parametrize(
    "vector", VECTORS["xchacha20poly1305"], ids=lambda v: v["source"]
)
def test_xaead_gives_the_published_ciphertext(vector: dict[str, str]) -> None:
    """XChaCha20-Poly1305 agrees with its draft."""
    key, nonce, aad, plaintext, sealed = unhex(
        vector, "key", "nonce", "aad", "plaintext", "ciphertext"
    )
    assert primitives.xaead_seal(key, nonce, plaintext, aad) == sealed
    assert primitives.xaead_open(key, nonce, sealed, aad) == plaintext


def test_xaead_open_refuses_every_changed_bit_and_every_length() -> None:
    """Flip any bit, or cut the ciphertext anywhere: it does not open."""
    sealed = primitives.xaead_seal(KEY, NONCE, b"text", b"aad")
    for bit in range(8 * len(sealed)):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(AuthenticationError):
            primitives.xaead_open(KEY, NONCE, bytes(changed), b"aad")
    for size in range(len(sealed)):
        with pytest.raises(AuthenticationError):
            primitives.xaead_open(KEY, NONCE, sealed[:size], b"aad")
    with pytest.raises(AuthenticationError):
        primitives.xaead_open(KEY, NONCE, sealed, b"another")


@pytest.mark.parametrize(("key", "nonce"), [(31, 24), (33, 24), (32, 23), (32, 12)])
def test_xaead_refuses_other_lengths(key: int, nonce: int) -> None:
    """Keys and nonces of another length are our mistake, in both directions."""
    with pytest.raises(ValueError, match="bytes"):
        primitives.xaead_seal(bytes(key), bytes(nonce), b"", b"")
    with pytest.raises(ValueError, match="bytes"):
        primitives.xaead_open(bytes(key), bytes(nonce), bytes(16), b"")


@pytest.mark.parametrize("size", [0, 31, 33])
def test_aead_refuses_keys_of_another_length(size: int) -> None:
    """A key that is not 32 bytes is our mistake, in both directions."""
    with pytest.raises(ValueError, match="32 bytes"):
        primitives.aead_seal(bytes(size), 0, b"", b"")
    with pytest.raises(ValueError, match="32 bytes"):
        primitives.aead_open(bytes(size), 0, bytes(16), b"")


def test_no_error_shows_a_secret() -> None:
    """Neither text nor cause of any error holds bytes of a key."""
    key = b"SECRET-SECRET-SECRET-SECRET-SECR"
    failures = [
        lambda: primitives.x25519(key, bytes(32)),
        lambda: primitives.x25519(key + b"!", bytes(32)),
        lambda: primitives.aead_open(key, 0, bytes(16), b""),
        lambda: primitives.aead_seal(key + b"!", 0, b"", b""),
        lambda: primitives.xaead_open(key, NONCE, bytes(16), b""),
        lambda: primitives.mac(key + b"!", b""),
    ]
    for failure in failures:
        with pytest.raises((AuthenticationError, ValueError)) as caught:
            failure()
        assert "SECRET" not in repr(caught.value)
        assert caught.value.__cause__ is None


def test_constant_time_equal_compares() -> None:
    """Equal bytes are equal; others, of other lengths too, are not."""
    assert primitives.constant_time_equal(b"abc", b"abc")
    assert not primitives.constant_time_equal(b"abc", b"abd")
    assert not primitives.constant_time_equal(b"abc", b"ab")
