"""The errors: what they end a command with, and what the userspace API answers."""

import pytest

from meshnode.errors import (
    BadPacket,
    ConfigError,
    CryptoError,
    DropReason,
    HostError,
    MeshnodeError,
    PrivilegeError,
    UsageError,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MeshnodeError("x"), 1),
        (UsageError("x"), 2),
        (ConfigError("x"), 1),
        (HostError("x"), 1),
        (PrivilegeError("x"), 5),
        (CryptoError("x"), 1),
    ],
)
def test_exit_codes(error, code):
    """They are the ones the README lists."""
    assert error.exit_code == code
    assert str(error) == "x"


def test_errno():
    """A bad value is EINVAL and a refusal of the host EIO, unless told otherwise."""
    assert ConfigError("x").errno == 22
    assert HostError("x").errno == 5
    assert HostError("x", errno=98).errno == 98
    assert PrivilegeError("x", errno=1).errno == 1


def test_a_refused_packet_says_why_and_is_no_error_of_a_user():
    """It carries its reason, and no handler of user errors catches it."""
    refusal = BadPacket(DropReason.BAD_MAC1)
    assert refusal.reason is DropReason.BAD_MAC1
    assert str(refusal) == "bad mac1"
    assert not isinstance(refusal, MeshnodeError)


def test_every_reason_has_words_of_its_own():
    """Two reasons with one name could not be told apart in a count."""
    assert len({reason.value for reason in DropReason}) == len(DropReason)
