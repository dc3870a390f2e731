"""What a SOCKS server answers, byte by byte."""

import pytest

from meshnode.codec.socks import Command
from meshnode.proxy.outlets import Refusal
from meshnode.proxy.socks_messages import (
    REFUSALS,
    REPLY_CODES,
    Login,
    Request,
    encode_granted,
    encode_refused,
)
from meshnode.types import Endpoint, Target

FOUR = Request(4, Command.CONNECT, Target("192.0.2.7", 443))
FIVE = Request(5, Command.CONNECT, Target("a.example", 443))


def test_granted() -> None:
    """With the address, as far as the version can say it."""
    v4, v6 = Endpoint("192.0.2.1", 1000), Endpoint("2001:db8::1", 1000)
    assert encode_granted(FIVE, v4).hex() == "05000001c000020103e8"
    assert encode_granted(FIVE, v6).hex() == "0500000420010db8" + "0" * 22 + "0103e8"
    assert encode_granted(FOUR, v4).hex() == "005a03e8c0000201"
    assert encode_granted(FOUR, v6).hex() == "005a03e800000000"


@pytest.mark.parametrize("refusal", Refusal)
def test_refused(refusal: Refusal) -> None:
    """Every reason has a code; SOCKS4 has one for all."""
    code = REPLY_CODES[refusal]
    assert 1 <= code <= 8
    assert encode_refused(FIVE, refusal).hex() == f"05{code:02x}0001" + "00" * 6
    assert encode_refused(FOUR, refusal).hex() == "005b" + "00" * 6


def test_codes_mean_what_they_say() -> None:
    """Passed on by another proxy, a reason stays what it is, as far as it can."""
    lost = {
        Refusal.NO_SUCH_NAME: Refusal.HOST_UNREACHABLE,
        Refusal.BUSY: Refusal.FAILED,
    }
    for refusal, code in REPLY_CODES.items():
        assert REFUSALS[code] == lost.get(refusal, refusal)


def test_passwords_are_not_shown() -> None:
    """A log of a login has none."""
    assert repr(Login("carol", "s3cret")) == "Login(user='carol')"
