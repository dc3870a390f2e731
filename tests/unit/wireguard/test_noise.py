"""The transcript: a value that every mixed-in byte changes, and that shows nothing."""

import pytest

from meshnode.crypto.primitives import blake2s
from meshnode.errors import AuthenticationError
from meshnode.wireguard.noise import Transcript

KEY = bytes(range(32))


def test_it_begins_with_the_papers_names() -> None:
    """C = HASH(construction), H = HASH(HASH(C, identifier), responder): no NULs."""
    chain_key = blake2s(b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s")
    inner = blake2s(chain_key + b"WireGuard v1 zx2c4 Jason@zx2c4.com")
    transcript = Transcript.begin(KEY)
    assert transcript.chain_key == chain_key
    assert transcript.hash == blake2s(inner + KEY)


def test_an_ephemeral_is_mixed_into_key_and_hash() -> None:
    """The psk variants of Noise mix it into both; leaving one out breaks them."""
    before = Transcript.begin(KEY)
    after = before.mix_ephemeral(KEY)
    assert after.chain_key != before.chain_key
    assert after.hash == blake2s(before.hash + KEY)


def test_mixing_leaves_the_transcript_it_starts_from() -> None:
    """Trying a message changes nothing; that is what the error contract rests on."""
    before = Transcript.begin(KEY)
    copy = Transcript(before.chain_key, before.hash)
    before.mix_ephemeral(KEY)
    before.mix_secret(KEY)
    before.mix_secret_to_key(KEY)
    before.mix_preshared_key(KEY)
    before.seal(KEY, b"text")
    assert before == copy


def test_what_is_sealed_opens_under_the_same_transcript_only() -> None:
    """Both sides come to the same hash; another hash does not open it."""
    sender = Transcript.begin(KEY)
    after, sealed = sender.seal(KEY, b"text")
    assert Transcript.begin(KEY).open(KEY, sealed) == (after, b"text")
    assert after.hash == blake2s(sender.hash + sealed)
    with pytest.raises(AuthenticationError):
        Transcript.begin(bytes(32)).open(KEY, sealed)


def test_it_does_not_print_its_secrets() -> None:
    """The chaining key and the hash are in no repr."""
    assert repr(Transcript.begin(KEY)) == "Transcript()"
