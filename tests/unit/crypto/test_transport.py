"""The in-place cipher of data packets."""

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from meshnode.crypto import primitives, transport
from meshnode.crypto.transport import (
    TAG_SIZE,
    Arena,
    Opener,
    Sealer,
    aes_key,
    can_use,
)
from meshnode.types import Cipher

CHACHA, AES = Cipher
HERE = [cipher for cipher in Cipher if can_use(cipher)]
"""A processor without AES has no second one; nothing is ever sent under it there."""

KEY = bytes(range(32))
PINNED_AES_KEY = "053bf3ed581d15806747755e8c791ac58f8ebed1e686af613892b44e0a07e642"
SIZES = (0, 1, 15, 16, 17, 63, 64, 65, 1420, 65000)
COUNTERS = (0, 1, 2**32, 2**60, 2**64 - 1)


@pytest.fixture(params=["direct", "portable"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test over libsodium directly, and as if PyNaCl had moved its names."""
    if request.param == "portable":
        for name in ("_ffi", "_library", "_NULL"):
            monkeypatch.setattr(transport, name, None)
    return str(request.param)


def seal(
    plaintext: bytes,
    counter: int,
    *,
    key: bytes = KEY,
    at: int = 3,
    cipher: Cipher = CHACHA,
) -> bytes:
    """Seal into the middle of an arena and return the ciphertext."""
    arena = Arena(at + len(plaintext) + TAG_SIZE)
    Sealer(key, cipher).seal_into(arena, at, plaintext, counter)
    assert arena.data[:at] == bytes(at)
    return bytes(arena.data[at:])


def unseal(
    ciphertext: bytes, counter: int, *, key: bytes = KEY, cipher: Cipher = CHACHA
) -> bytes | None:
    """Open from the middle of an arena."""
    arena = Arena(len(ciphertext) + 8)
    arena.data[5 : 5 + len(ciphertext)] = ciphertext
    return Opener(key, cipher).open_from(arena, 5, len(ciphertext), counter)


def test_rfc_8439_vector(backend: str) -> None:
    """Appendix A.5 has a nonce of four zeros and a counter; its AAD is left out."""
    key = bytes.fromhex(
        "1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0"
    )
    nonce = bytes.fromhex("000000000102030405060708")
    counter = int.from_bytes(nonce[4:], "little")
    plaintext = (
        b"Internet-Drafts are draft documents valid for a maximum of six months and "
        b"may be updated, replaced, or obsoleted by other documents at any time."
    )
    ciphertext = seal(plaintext, counter, key=key)
    # The key stream does not depend on the additional data, only the tag does.
    assert ciphertext[:32].hex() == (
        "64a0861575861af460f062c79be643bd5e805cfd345cf389f108670ac76c8cb2"
    )
    assert ciphertext == ChaCha20Poly1305(key).encrypt(nonce, plaintext, None)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("counter", COUNTERS)
def test_agrees_with_two_other_implementations(
    backend: str, size: int, counter: int
) -> None:
    """Ciphertexts are those of `crypto.primitives` and of `cryptography`."""
    plaintext = bytes(number % 251 for number in range(size))
    nonce = bytes(4) + counter.to_bytes(8, "little")
    ciphertext = seal(plaintext, counter)
    assert ciphertext == primitives.aead_seal(KEY, counter, plaintext, b"")
    assert ciphertext == ChaCha20Poly1305(KEY).encrypt(nonce, plaintext, None)
    assert unseal(ciphertext, counter) == plaintext


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("counter", COUNTERS)
@pytest.mark.skipif(not can_use(AES), reason="this processor has no AES")
def test_aes_agrees_with_another_implementation(
    backend: str, size: int, counter: int
) -> None:
    """Under the derived key, with the same nonce; in place, as it is used."""
    plaintext = bytes(number % 251 for number in range(size))
    nonce = bytes(4) + counter.to_bytes(8, "little")
    ciphertext = seal(plaintext, counter, cipher=AES)
    assert ciphertext == AESGCM(aes_key(KEY)).encrypt(nonce, plaintext, None)
    assert unseal(ciphertext, counter, cipher=AES) == plaintext


def test_the_key_of_aes_is_pinned() -> None:
    """HMAC-BLAKE2s twice, as the paper's KDF1, over a label that names the use."""
    label = b"meshnode/1 data AES-256-GCM"
    secret = primitives.hmac_blake2s(KEY, label)
    assert aes_key(KEY) == primitives.hmac_blake2s(secret, b"\x01")
    assert aes_key(KEY).hex() == PINNED_AES_KEY


@pytest.mark.skipif(not can_use(AES), reason="this processor has no AES")
def test_one_cipher_does_not_open_the_other(backend: str) -> None:
    """Not even with the other's own key, for a datagram names its cipher."""
    for sealed, opened in ((CHACHA, AES), (AES, CHACHA)):
        ciphertext = seal(b"sixteen bytes, 1", 9, cipher=sealed)
        for key in (KEY, aes_key(KEY)):
            assert unseal(ciphertext, 9, key=key, cipher=opened) is None


def test_without_libsodium_at_hand_there_is_one_cipher(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What cannot be asked for is not offered."""
    monkeypatch.setattr(transport, "_library", None)
    assert can_use(CHACHA)
    assert not can_use(AES)


@pytest.mark.parametrize("cipher", HERE)
def test_every_flipped_bit_is_noticed(backend: str, cipher: Cipher) -> None:
    """No altered ciphertext, tag or counter opens."""
    ciphertext = seal(b"sixteen bytes, 1", 9, cipher=cipher)
    for bit in range(8 * len(ciphertext)):
        altered = bytearray(ciphertext)
        altered[bit // 8] ^= 1 << bit % 8
        assert unseal(bytes(altered), 9, cipher=cipher) is None, bit
    assert unseal(ciphertext, 8, cipher=cipher) is None
    assert unseal(ciphertext, 9, key=bytes(32), cipher=cipher) is None


def test_nothing_outside_the_arena_is_touched(backend: str) -> None:
    """Offsets and sizes that do not fit raise ValueError before any byte moves."""
    arena = Arena(64)
    for offset in (-1, 33, 64, 2**40):
        with pytest.raises(ValueError, match="fit"):
            Sealer(KEY).seal_into(arena, offset, bytes(16), 0)
    for offset, size in ((-1, 32), (33, 32), (0, 15), (0, 65), (0, -1)):
        with pytest.raises(ValueError, match="arena"):
            Opener(KEY).open_from(arena, offset, size, 0)
    assert arena.data == bytes(64)


def test_keys_have_32_bytes(backend: str) -> None:
    """A key of another length is refused before it reaches the library."""
    for size in (0, 31, 33):
        with pytest.raises(ValueError, match="32 bytes"):
            Sealer(bytes(size))
        with pytest.raises(ValueError, match="32 bytes"):
            Opener(bytes(size))


def test_an_arena_cannot_be_resized() -> None:
    """Its address stays good: Python refuses to move the memory."""
    arena = Arena(8)
    with pytest.raises(BufferError):
        arena.data.extend(b"x")
    assert arena.size == 8


def test_pynacl_still_has_the_names() -> None:
    """The direct way is in use; if PyNaCl moves it, this is where we learn."""
    for cipher in Cipher:
        assert Sealer(KEY, cipher)._direct is not None
        assert Opener(KEY, cipher)._direct is not None
