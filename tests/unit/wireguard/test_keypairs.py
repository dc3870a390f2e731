"""The three key pairs: every change, and what it retires."""

import pytest

from meshnode.types import Cipher
from meshnode.wireguard.keypairs import KeyPair, KeyPairs


def pair(index, born_at=0.0, *, is_initiator=True):
    """Return a key pair."""
    return KeyPair(index, 1000 + index, born_at, is_initiator)


def slots(pairs):
    """Return the indices of previous, current and next."""
    three = (pairs.previous, pairs.current, pairs.next)
    return tuple(None if one is None else one.local_index for one in three)


def retired(result):
    """Return the indices of the pairs to forget."""
    return [one.local_index for one in result]


def test_an_initiator_uses_its_new_pair_at_once():
    """New becomes current, current previous, previous goes."""
    pairs = KeyPairs()
    assert retired(pairs.add_as_initiator(pair(1))) == []
    assert retired(pairs.add_as_initiator(pair(2))) == []
    assert retired(pairs.add_as_initiator(pair(3))) == [1]
    assert slots(pairs) == (2, 3, None)


def test_a_responder_waits_with_its_new_pair():
    """The new pair is next; previous and an older next go."""
    pairs = KeyPairs()
    pairs.add_as_initiator(pair(1))
    pairs.add_as_initiator(pair(2))
    assert retired(pairs.add_as_responder(pair(3))) == [1]
    assert slots(pairs) == (None, 2, 3)
    assert retired(pairs.add_as_responder(pair(4))) == [3]
    assert slots(pairs) == (None, 2, 4)


def test_an_initiator_keeps_a_waiting_pair_as_previous():
    """A waiting next is newer than current, which goes instead."""
    pairs = KeyPairs()
    pairs.add_as_initiator(pair(1))
    pairs.add_as_responder(pair(2))
    assert retired(pairs.add_as_initiator(pair(3))) == [1]
    assert slots(pairs) == (2, 3, None)


def test_confirmation_promotes_next():
    """Next becomes current, current previous, previous goes."""
    pairs = KeyPairs()
    pairs.add_as_initiator(pair(1))
    pairs.add_as_responder(pair(2))
    result = pairs.confirm(2)
    assert result == []
    assert slots(pairs) == (1, 2, None)


@pytest.mark.parametrize("index", [1, 3, 0])
def test_only_next_can_be_confirmed(index):
    """A packet under another pair changes nothing."""
    pairs = KeyPairs()
    pairs.add_as_initiator(pair(1))
    pairs.add_as_responder(pair(2))
    assert pairs.confirm(index) is None
    assert slots(pairs) == (None, 1, 2)


def test_without_a_next_nothing_is_confirmed():
    """A packet of the current session is no confirmation."""
    pairs = KeyPairs()
    assert pairs.confirm(1) is None
    pairs.add_as_initiator(pair(1))
    assert pairs.confirm(1) is None


def test_clearing_returns_all():
    """Afterwards there is none."""
    pairs = KeyPairs()
    pairs.add_as_initiator(pair(1))
    pairs.add_as_initiator(pair(2))
    pairs.next = pair(3)
    assert retired(pairs.clear()) == [1, 2, 3]
    assert slots(pairs) == (None, None, None)
    assert pairs.all() == []


def test_stopping_to_send_keeps_current_to_receive():
    """Current becomes previous; the others go."""
    pairs = KeyPairs()
    pairs.add_as_initiator(pair(1))
    pairs.add_as_initiator(pair(2))
    pairs.next = pair(3)
    assert retired(pairs.stop_sending()) == [1, 3]
    assert slots(pairs) == (2, None, None)


def adopted(*held):
    """Adopt (index, birth, is_initiator, in_use) in order; return the slots."""
    pairs = KeyPairs()
    for index, born_at, is_initiator, in_use in held:
        pairs.adopt(pair(index, born_at, is_initiator=is_initiator), in_use=in_use)
    return slots(pairs)


OLD = (1, 10.0, True, False)
USED = (2, 20.0, True, True)
WAITING = (3, 30.0, False, False)


@pytest.mark.parametrize(
    "order",
    [
        (OLD, USED, WAITING),
        (WAITING, USED, OLD),
        (USED, WAITING, OLD),
        (OLD, WAITING, USED),
        (USED, OLD, WAITING, USED, OLD, WAITING),
    ],
)
def test_adoption_finds_each_its_place_in_any_order(order):
    """The one in use is current, older ones previous, a younger answer waits."""
    assert adopted(*order) == (1, 2, 3)


def test_what_one_worker_does_not_use_the_other_may():
    """Both workers tell; only egress knows what is in use."""
    unused = (2, 20.0, True, False)
    assert adopted(unused, USED) == (None, 2, None)
    assert adopted(USED, unused) == (None, 2, None)


def test_an_answer_alone_waits_for_confirmation():
    """Without a current pair, a pair in which we answered is next."""
    assert adopted(WAITING) == (None, None, 3)


def test_a_pair_can_send_for_180_seconds():
    """Only the current one counts."""
    pairs = KeyPairs()
    assert not pairs.can_send(now=0.0)
    pairs.add_as_responder(pair(1, 10.0, is_initiator=False))
    assert not pairs.can_send(now=11.0)
    pairs.confirm(1)
    assert pairs.can_send(now=189.9)
    assert not pairs.can_send(now=190.0)


def test_a_cipher_is_of_one_session():
    """Found by the peer's index, wherever the session stands; others stay."""
    pairs = KeyPairs()
    pairs.add_as_initiator(pair(1))
    pairs.add_as_initiator(pair(2))
    pairs.add_as_responder(pair(3, is_initiator=False))
    for index in (2, 3):
        changed = pairs.use_cipher(1000 + index, Cipher.AES_256_GCM)
        assert changed.local_index == index
        assert changed in pairs.all()
    assert pairs.use_cipher(1003, Cipher.AES_256_GCM) is None
    assert pairs.use_cipher(3, Cipher.AES_256_GCM) is None
    assert [one.cipher for one in pairs.all()] == [Cipher.AES_256_GCM] * 2


def test_a_cipher_moves_with_its_session():
    """It is still known when the session is no longer the one in use."""
    pairs = KeyPairs()
    pairs.add_as_responder(pair(1, is_initiator=False))
    pairs.use_cipher(1001, Cipher.AES_256_GCM)
    pairs.confirm(1)
    pairs.add_as_initiator(pair(2))
    assert pairs.previous.cipher is Cipher.AES_256_GCM
    assert pairs.current.cipher is Cipher.CHACHA20_POLY1305
