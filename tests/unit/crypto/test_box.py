"""The key that two hosts share."""

import random

import pytest

from meshnode.crypto.box import box_key
from meshnode.crypto.keys import PrivateKey
from meshnode.errors import AuthenticationError


def test_both_ends_have_the_same_key_and_nobody_else(rng: random.Random) -> None:
    """It depends on both keys."""
    one, other, third = (PrivateKey(rng.randbytes(32)) for _ in range(3))
    key = box_key(one, other.public_key().raw)
    assert key == box_key(other, one.public_key().raw)
    assert key != box_key(one, third.public_key().raw)
    assert len(key) == 32


def test_a_key_of_low_order_is_refused(rng: random.Random) -> None:
    """Its secret would be known to all."""
    with pytest.raises(AuthenticationError):
        box_key(PrivateKey(rng.randbytes(32)), bytes(32))
