"""The text of signing keys and papers: whatever is not whole is refused."""

import random

import pytest

from meshnode.crypto import passphrase as passphrase_module
from meshnode.crypto.signing import SigningKey
from meshnode.errors import ConfigError, CryptoError
from meshnode.manage.identity_files import (
    SealedSigningKey,
    parse_papers,
    parse_signing_key,
    serialise_papers,
    serialise_sealed,
    serialise_seed,
)

SEED = bytes(range(32))
PAPERS = (b"one" * 300, b"", b"\x00\xff")


@pytest.fixture
def sealed(monkeypatch: pytest.MonkeyPatch, rng: random.Random) -> SealedSigningKey:
    """A sealed key, at a cost that tests can pay."""
    monkeypatch.setattr(passphrase_module, "OPERATIONS", 1)
    monkeypatch.setattr(passphrase_module, "MEMORY", 8192)
    return SealedSigningKey.seal(SEED, b"secret", entropy=rng.randbytes)


def test_a_signing_key_is_read_back() -> None:
    """And says its public key in clear."""
    text = serialise_seed(SEED)
    key = parse_signing_key(text)
    assert isinstance(key, SigningKey)
    assert key.public == SigningKey(SEED).public
    assert text.startswith(b"meshnode signing key 1\npublic ")


def test_a_sealed_key_opens_with_its_passphrase(sealed: SealedSigningKey) -> None:
    """And with no other."""
    found = parse_signing_key(serialise_sealed(sealed))
    assert found == sealed
    assert isinstance(found, SealedSigningKey)
    assert found.public == SigningKey(SEED).public
    assert found.open(b"secret").public == SigningKey(SEED).public
    with pytest.raises(CryptoError, match="wrong passphrase"):
        found.open(b"other")


def test_a_sealed_key_is_bound_to_its_public_key(sealed: SealedSigningKey) -> None:
    """The line in clear cannot be exchanged unseen."""
    other = SealedSigningKey(SigningKey(bytes(32)).public, sealed.sealed)
    with pytest.raises(CryptoError):
        other.open(b"secret")


def test_no_secret_is_shown(sealed: SealedSigningKey) -> None:
    """Neither the seed nor the sealed bytes are in a representation."""
    assert repr(sealed.sealed) not in repr(sealed)


def test_papers_are_read_back() -> None:
    """In order, also none."""
    assert (
        parse_papers("certificate", serialise_papers("certificate", PAPERS)) == PAPERS
    )
    assert parse_papers("network", serialise_papers("network", ())) == ()


def test_papers_of_another_name_are_refused() -> None:
    """A file that was copied to another's place, even with its first line changed."""
    text = serialise_papers("certificate", PAPERS)
    with pytest.raises(ConfigError, match="is no network"):
        parse_papers("network", text)
    with pytest.raises(ConfigError, match="damaged"):
        parse_papers("network", text.replace(b"certificate", b"network"))


def every_damage(text: bytes) -> list[bytes]:
    """*text* cut at every byte, with every bit flipped, and with bytes added."""
    cut = [text[:length] for length in range(len(text))]
    flipped = []
    for bit in range(8 * len(text)):
        damaged = bytearray(text)
        damaged[bit // 8] ^= 1 << bit % 8
        flipped.append(bytes(damaged))
    added = [text + b"\n", text + b"x", b"\n" + text, text + text, b" " + text]
    return [*cut, *flipped, *added, text.replace(b"\n", b"\r\n")]


def test_a_damaged_key_is_refused(sealed: SealedSigningKey) -> None:
    """At every byte and bit, and the error holds nothing of the file."""
    for damaged in every_damage(serialise_seed(SEED)):
        with pytest.raises(ConfigError, match=r"restore it from a copy$"):
            parse_signing_key(damaged)


def test_a_damaged_sealed_key_is_refused(sealed: SealedSigningKey) -> None:
    """At the latest when it is opened."""
    text = serialise_sealed(sealed)

    def use(damaged: bytes) -> None:
        key = parse_signing_key(damaged)
        assert isinstance(key, SealedSigningKey)
        key.open(b"secret")

    use(text)
    for damaged in every_damage(text)[::7]:
        with pytest.raises((ConfigError, CryptoError)):
            use(damaged)


def test_damaged_papers_are_refused() -> None:
    """At every byte and bit."""
    for damaged in every_damage(serialise_papers("certificate", PAPERS)):
        with pytest.raises(ConfigError, match=r"restore it from a copy$"):
            parse_papers("certificate", damaged)
