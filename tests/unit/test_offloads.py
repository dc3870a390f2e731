"""What can be set of the offloads, and how a wrong setting is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnode.errors import ConfigError
from meshnode.offloads import AUTO, CHOICES, FULL, STATES, UNFORCED, Offloads

WORDS = {key: st.sampled_from(words) for key, words in CHOICES.items()}
ANY = st.fixed_dictionaries({}, optional=WORDS)


@given(ANY)
def test_a_setting_reads_back(values: dict[str, str]) -> None:
    """Only what is forced is written, and a key left out is automatic."""
    offloads = Offloads.of(values)
    assert offloads.settings() == {key: values.get(key, AUTO) for key in CHOICES}
    assert Offloads.parse(offloads.forced()) == offloads
    assert all(not word.endswith(AUTO) for word in offloads.forced())


def test_nothing_is_forced_by_default() -> None:
    """All are as the kernel does them."""
    assert Offloads.parse([]) == UNFORCED
    assert UNFORCED.forced() == []


def test_what_can_be_forced_is_a_state() -> None:
    """So a setting says where a switch begins."""
    for key, (first, *forced) in CHOICES.items():
        assert first == AUTO
        assert STATES[key][0] == FULL
        assert set(forced) < set(STATES[key])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tun-tcp"], "'tun-tcp': tun-tcp is one of auto, off"),
        (["tun-tcp=on"], "'tun-tcp=on': tun-tcp is one of auto, off"),
        (["tun_tcp=off"], "'tun_tcp=off': write KEY=VALUE, KEY of udp-segmentation, "),
        ([""], "'': write KEY=VALUE"),
        (["udp-segmentation=OFF"], "udp-segmentation is one of auto, whole, off"),
        (["tun-udp=off", "tun-udp=auto"], "'tun-udp=auto': tun-udp is there twice"),
    ],
)
def test_a_wrong_word_is_named_with_what_is_allowed(
    words: list[str], message: str
) -> None:
    """Nothing is guessed."""
    with pytest.raises(ConfigError) as caught:
        Offloads.parse(words)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
