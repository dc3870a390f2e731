"""The text of key files, in clear and sealed."""

import base64
import random

import pytest

from meshnode.crypto import passphrase
from meshnode.crypto.keys import PrivateKey
from meshnode.errors import ConfigError, CryptoError
from meshnode.manage.keyfile import (
    SealedKey,
    parse_key,
    public_key_of,
    serialise_key,
)

KEY = PrivateKey(bytes(range(32)))
SECRET = b"correct horse"


@pytest.fixture(autouse=True)
def _cheap_passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passphrase, "OPERATIONS", 1)
    monkeypatch.setattr(passphrase, "MEMORY", 8192)


@pytest.fixture
def sealed(rng: random.Random) -> SealedKey:
    """The key under the passphrase."""
    return SealedKey.seal(KEY, SECRET, entropy=rng.randbytes)


def test_a_clear_key_is_as_wg_writes_it() -> None:
    """One line of base64, which comes back."""
    assert serialise_key(KEY) == KEY.to_base64().encode() + b"\n"
    assert parse_key(serialise_key(KEY)) == KEY
    assert public_key_of(KEY) == KEY.public_key()


def test_a_sealed_key_survives_its_file(sealed: SealedKey) -> None:
    """The file tells the public key, and the passphrase opens it."""
    read = parse_key(serialise_key(sealed))
    assert read == sealed
    assert public_key_of(read) == KEY.public_key()
    assert isinstance(read, SealedKey)
    assert read.open(SECRET) == KEY


def test_a_sealed_file_is_text_that_says_what_it_is(sealed: SealedKey) -> None:
    """Two readable lines, then base64 in short lines; no trace of the key."""
    first, second, *body = serialise_key(sealed).decode().splitlines()
    assert first == "meshnode sealed key 1"
    assert second == f"public {KEY.public_key()}"
    assert base64.b64decode("".join(body)) == sealed.sealed
    assert max(map(len, body)) <= 64
    assert KEY.reveal() not in base64.b64decode("".join(body))


def test_a_wrong_passphrase_is_refused(sealed: SealedKey) -> None:
    """Nothing but the passphrase opens it."""
    with pytest.raises(CryptoError):
        sealed.open(SECRET + b"\n")


def test_every_changed_byte_is_noticed(sealed: SealedKey) -> None:
    """No byte of the file can be changed without a refusal."""
    data = serialise_key(sealed)
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1
        try:
            read = parse_key(bytes(changed))
        except ConfigError:
            continue
        if read != sealed:
            assert isinstance(read, SealedKey), position
            with pytest.raises(CryptoError):
                read.open(SECRET)


def test_a_key_under_the_name_of_another_is_refused(sealed: SealedKey) -> None:
    """The public line cannot be exchanged for another's."""
    other = PrivateKey(bytes(32)).public_key()
    with pytest.raises(CryptoError):
        SealedKey(other, sealed.sealed).open(SECRET)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"not a key",
        b"\xff\xfe",
        b"meshnode sealed key 2\n",
        b"meshnode sealed key 1\n",
        b"meshnode sealed key 1\npublic \n",
        b"meshnode sealed key 1\nprivate AAAA\nAAAA\n",
        f"meshnode sealed key 1\npublic {KEY.public_key()}\n!\n".encode(),
    ],
)
def test_other_files_are_refused(data: bytes) -> None:
    """What is neither form is an error, not a crash."""
    with pytest.raises(ConfigError):
        parse_key(data)


def test_every_truncation_is_refused(sealed: SealedKey) -> None:
    """A file cut short anywhere gives no key."""
    data = serialise_key(sealed)
    for length in range(len(data) - 1):
        try:
            read = parse_key(data[:length])
        except ConfigError:
            continue
        assert isinstance(read, SealedKey)
        with pytest.raises(CryptoError):
            read.open(SECRET)


def test_no_text_form_holds_a_secret(sealed: SealedKey) -> None:
    """Neither values nor errors show the key, the passphrase or a bad file."""
    base64_text = KEY.to_base64()
    with pytest.raises(ConfigError) as bad_file:
        parse_key(base64_text.encode() + b"x")
    with pytest.raises(CryptoError) as bad_passphrase:
        sealed.open(b"wrong horse")
    for text in (repr(sealed), str(sealed), repr(bad_file.value), repr(bad_passphrase)):
        assert base64_text[:20] not in text
        assert "horse" not in text
        assert repr(sealed.sealed)[2:20] not in text
