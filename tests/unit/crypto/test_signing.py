"""Ed25519: the published signatures, and everything that looks like one but is not."""

import pickle
from random import Random

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from meshnode.crypto.signing import SigningKey, verify
from meshnode.errors import AuthenticationError

# RFC 8032, 7.1: secret key, public key, message, signature.
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb88215"
        "90a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e4"
        "3e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
]
ORDER = 2**252 + 27742317777372353535851937790883648493
KEY = SigningKey(bytes(range(32)))
DATA = b"what was agreed"

# Points of order 1, 2, 4 and 8, and a spelling of one that is not reduced.
SMALL_ORDER = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]


@pytest.mark.parametrize(("seed", "public", "data", "signature"), RFC_8032)
def test_signatures_are_the_published_ones(
    seed: str, public: str, data: str, signature: str
) -> None:
    """Key, signature and verification agree with RFC 8032."""
    key = SigningKey(bytes.fromhex(seed))
    assert key.public.hex() == public
    assert key.sign(bytes.fromhex(data)).hex() == signature
    verify(key.public, bytes.fromhex(data), bytes.fromhex(signature))


def test_signatures_agree_with_another_library(rng: Random) -> None:
    """Any seed and data give what OpenSSL gives."""
    for _ in range(20):
        seed, data = rng.randbytes(32), rng.randbytes(rng.randrange(200))
        assert SigningKey(seed).sign(data) == (
            Ed25519PrivateKey.from_private_bytes(seed).sign(data)
        )


def test_every_changed_bit_of_a_signature_is_noticed() -> None:
    """No bit of signature, data or key can be flipped."""
    signature = KEY.sign(DATA)
    whole = KEY.public + signature + DATA
    for bit in range(8 * len(whole)):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(AuthenticationError):
            verify(bytes(changed[:32]), bytes(changed[96:]), bytes(changed[32:96]))


def test_a_signature_has_one_spelling() -> None:
    """The scalar plus the group's order is the same number, and is refused."""
    signature = KEY.sign(DATA)
    scalar = int.from_bytes(signature[32:], "little")
    malleated = signature[:32] + (scalar + ORDER).to_bytes(32, "little")
    with pytest.raises(AuthenticationError):
        verify(KEY.public, DATA, malleated)


@pytest.mark.parametrize("point", SMALL_ORDER)
def test_keys_of_small_order_verify_nothing(point: str) -> None:
    """A key for which 0·B fits any data would sign everything."""
    public = bytes.fromhex(point)
    for commitment in [public, bytes([1]) + bytes(31)]:
        with pytest.raises(AuthenticationError):
            verify(public, DATA, commitment + bytes(32))


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_public_keys_of_another_length_are_refused(size: int) -> None:
    """They never reach the library, which reads 32 bytes."""
    public = (KEY.public * 2)[:size]
    with pytest.raises(AuthenticationError):
        verify(public, DATA, KEY.sign(DATA))


@pytest.mark.parametrize("size", [0, 63, 65, 128])
def test_signatures_of_another_length_are_refused(size: int) -> None:
    """Bytes cannot move between signature and data."""
    whole = KEY.sign(DATA) + DATA + bytes(200)
    with pytest.raises(AuthenticationError):
        verify(KEY.public, whole[size : 64 + len(DATA)], whole[:size])


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_seed_has_32_bytes(size: int) -> None:
    """Another length is our own mistake."""
    with pytest.raises(ValueError, match="32 bytes"):
        SigningKey(bytes(size))


def test_a_signing_key_keeps_its_secret() -> None:
    """Neither its text form nor a pickle shows the seed."""
    seed = bytes(range(65, 97))
    key = SigningKey(seed)
    assert repr(key) == str(key) == "SigningKey(hidden)"
    with pytest.raises(TypeError):
        pickle.dumps(key)
