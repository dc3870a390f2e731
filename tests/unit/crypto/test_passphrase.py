"""Files sealed with a passphrase: what opens them, and what a hostile one costs."""

import struct

import pytest

from meshnode.crypto import passphrase
from meshnode.crypto.passphrase import open_with_passphrase, seal_with_passphrase
from meshnode.errors import CryptoError

SALT = bytes(range(16))
NONCE = bytes(range(24))
HEADER = b"meshnode key file, version 1"
COST = struct.Struct("<IQ")


@pytest.fixture(scope="module")
def blob() -> bytes:
    """One sealed file; sealing takes about a second."""
    return seal_with_passphrase(
        b"correct horse", b"secret key", salt=SALT, nonce=NONCE, header=HEADER
    )


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """One sealed file at the least cost, for tests that open it often."""
    monkeypatch.setattr(passphrase, "OPERATIONS", 1)
    monkeypatch.setattr(passphrase, "MEMORY", 8192)
    return seal_with_passphrase(
        b"correct horse", b"secret key", salt=SALT, nonce=NONCE, header=HEADER
    )


def test_the_right_passphrase_opens_what_was_sealed(blob: bytes) -> None:
    """What was sealed comes back, and is not readable in between."""
    assert b"secret key" not in blob
    assert open_with_passphrase(b"correct horse", blob, header=HEADER) == b"secret key"


def test_sealing_costs_what_libsodium_calls_moderate(blob: bytes) -> None:
    """The blob says 3 operations and 256 MiB."""
    assert COST.unpack_from(blob) == (3, 256 * 2**20)


@pytest.mark.parametrize(
    ("secret", "header"),
    [(b"wrong horse", HEADER), (b"", HEADER), (b"correct horse", b"another header")],
)
def test_another_passphrase_or_header_is_one_clear_line(
    cheap: bytes, secret: bytes, header: bytes
) -> None:
    """The error is one line, names the passphrase, and does not repeat it."""
    with pytest.raises(CryptoError, match="wrong passphrase") as caught:
        open_with_passphrase(secret, cheap, header=header)
    assert "\n" not in str(caught.value)
    assert "horse" not in str(caught.value)


def test_no_changed_bit_and_no_cut_goes_unseen(cheap: bytes) -> None:
    """Every bit of the salt, nonce and ciphertext is authenticated, and the cost."""
    for bit in range(8 * COST.size, 8 * len(cheap)):
        changed = bytearray(cheap)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CryptoError):
            open_with_passphrase(b"correct horse", bytes(changed), header=HEADER)
    for size in range(len(cheap)):
        with pytest.raises(CryptoError):
            open_with_passphrase(b"correct horse", cheap[:size], header=HEADER)
    costlier = COST.pack(2, 8192) + cheap[COST.size :]
    with pytest.raises(CryptoError):
        open_with_passphrase(b"correct horse", costlier, header=HEADER)


@pytest.mark.parametrize(
    ("operations", "memory"),
    [
        (3, 2**34),
        (3, 2**64 - 1),
        (3, passphrase.MAX_MEMORY + 1),
        (passphrase.MAX_OPERATIONS + 1, 8192),
        (2**32 - 1, 8192),
        (0, 8192),
        (3, 0),
    ],
)
def test_a_hostile_cost_is_refused_before_it_is_paid(
    cheap: bytes,
    monkeypatch: pytest.MonkeyPatch,
    operations: int,
    memory: int,
) -> None:
    """A file cannot make us take gigabytes, or hours: nothing is computed."""

    def never(*_: object) -> bytes:
        raise AssertionError("the key was stretched")

    monkeypatch.setattr(passphrase, "_stretch", never)
    hostile = COST.pack(operations, memory) + cheap[COST.size :]
    with pytest.raises(CryptoError, match="damaged"):
        open_with_passphrase(b"correct horse", hostile, header=HEADER)


def test_too_little_memory_is_one_clear_line(
    cheap: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When libsodium gets no memory, the error says how much is needed."""

    def refuse(*_: object) -> bytes:
        raise RuntimeError("Unexpected failure in key derivation")

    monkeypatch.setattr(passphrase.bindings, "crypto_pwhash_alg", refuse)
    with pytest.raises(CryptoError, match="MiB of memory"):
        open_with_passphrase(b"correct horse", cheap, header=HEADER)


@pytest.mark.parametrize(("salt", "nonce"), [(15, 24), (16, 12), (0, 24)])
def test_sealing_refuses_other_lengths(salt: int, nonce: int) -> None:
    """A short salt or nonce is our mistake."""
    with pytest.raises(ValueError, match="salt"):
        seal_with_passphrase(
            b"p", b"x", salt=bytes(salt), nonce=bytes(nonce), header=b""
        )
