"""Keys as values: their text forms, and that no secret prints itself."""

import base64
import copy
import pickle

import pytest

from meshnode.crypto.keys import PresharedKey, PrivateKey, PublicKey
from meshnode.crypto.primitives import x25519
from meshnode.errors import ConfigError

RAW = bytes(range(32))
TEXT = base64.b64encode(RAW).decode()
SECRETS = (PrivateKey, PresharedKey)


@pytest.mark.parametrize("kind", [PublicKey, *SECRETS])
@pytest.mark.parametrize(
    "text",
    [
        "",
        TEXT[:-1],
        TEXT + "=",
        TEXT[:-2] + "9=",  # spare bits set: another spelling of the same bytes
        base64.b64encode(RAW[:31]).decode(),
        base64.b64encode(RAW + b"x").decode(),
        TEXT.replace("A", "!"),
        "é" * 44,
    ],
)
def test_only_the_canonical_base64_of_32_bytes_is_taken(kind, text):
    """Anything else is one line that says what is wanted, and shows nothing of it."""
    with pytest.raises(ConfigError, match="not 32 bytes in base64") as caught:
        kind.from_base64(text)
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize("kind", [PublicKey, *SECRETS])
@pytest.mark.parametrize("text", ["", "00" * 31, "00" * 33, "0g" * 32, " " + "0" * 63])
def test_only_64_hexadecimal_digits_are_taken(kind, text):
    """The userspace API's form is as strict."""
    with pytest.raises(ConfigError, match="not 32 bytes in hexadecimal"):
        kind.from_hex(text)


def test_public_keys_are_values():
    """Equal bytes are equal keys with equal hashes; the text form is `wg`'s."""
    key = PublicKey.from_base64(TEXT)
    assert key == PublicKey(RAW) == PublicKey.from_hex(RAW.hex())
    assert hash(key) == hash(PublicKey(RAW))
    assert key != PublicKey(bytes(32))
    assert key != RAW
    assert str(key) == TEXT


def test_private_keys_are_kept_clamped():
    """What is read back is the clamped key (RFC 7748), as `wg show` has it."""
    raw = PrivateKey(b"\xff" * 32).reveal()
    assert raw[0] == 0xF8
    assert raw[31] == 0x7F
    assert PrivateKey(bytes(32)).reveal()[31] == 0x40


def test_the_public_key_belongs_to_the_private_one():
    """Multiplying the base point, 9, by the key gives it (RFC 7748, section 6.1)."""
    private = PrivateKey(RAW)
    base_point = (9).to_bytes(32, "little")
    assert private.public_key().raw == x25519(private.reveal(), base_point)


@pytest.mark.parametrize("kind", SECRETS)
def test_secrets_do_not_show_themselves(kind):
    """Neither text form nor error nor pickle holds a secret byte."""
    secret = kind(RAW)
    for text in (repr(secret), str(secret), f"{secret}", repr([secret])):
        assert TEXT not in text
        assert RAW.hex() not in text
        assert "hidden" in text
    for copier in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not pickled"):
            copier(secret)


@pytest.mark.parametrize("kind", SECRETS)
def test_secrets_compare_and_do_not_hash(kind):
    """They compare by value and are no dictionary keys."""
    assert kind(RAW) == kind(RAW)
    assert kind(RAW) != kind(bytes(32))
    assert kind(RAW) != RAW
    assert PresharedKey(RAW) != PrivateKey(RAW)
    with pytest.raises(TypeError):
        hash(kind(RAW))


@pytest.mark.parametrize("kind", [PublicKey, *SECRETS])
@pytest.mark.parametrize("size", [0, 31, 33])
def test_other_sizes_are_a_mistake_of_ours(kind, size):
    """A key of another length is never made."""
    with pytest.raises(ValueError, match="32 bytes"):
        kind(bytes(size))


def test_no_preshared_key_is_all_zeros():
    """The value that stands for none is what the handshake mixes in."""
    assert PresharedKey.none().reveal() == bytes(32)
    assert PresharedKey.from_base64(TEXT).to_base64() == TEXT
