"""Events are plain values."""

import dataclasses
from typing import get_args

import pytest

from meshnode.wireguard import events


def test_every_event_is_frozen_and_part_of_the_union():
    """The shell matches on all of them."""
    classes = [
        value
        for value in vars(events).values()
        if dataclasses.is_dataclass(value) and value.__module__ == events.__name__
    ]
    assert set(get_args(events.Event)) == set(classes)
    with pytest.raises(dataclasses.FrozenInstanceError):
        events.PeerStateChanged(1).slot = 2
