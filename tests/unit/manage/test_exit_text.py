"""The table `[exit]`: what is taken, what is refused, and that it is written back."""

from pathlib import Path

import pytest

from meshnode.errors import ConfigError
from meshnode.manage.config_text import parse_config, serialise_config
from meshnode.manage.config_values import ExitSettings, NetworkConfig
from meshnode.manage.exit_text import MAX_EXITS, MAX_LAN, check_exit
from meshnode.types import Prefix

FILE = Path("/etc/meshnode/home.toml")
LAN = (Prefix.parse("192.168.1.0/24"), Prefix.parse("fd00::/64"))


@pytest.mark.parametrize(
    "settings",
    [
        ExitSettings(),
        ExitSettings(offer=True),
        ExitSettings(use=("paris", "berlin"), lan=LAN),
        ExitSettings(use=("paris",), kill_switch=False),
        ExitSettings(lan=LAN),
    ],
)
def test_settings_are_written_and_read(settings: ExitSettings) -> None:
    """What a command writes is what the node finds."""
    config = NetworkConfig("home", exit=settings)
    assert parse_config(serialise_config(config).encode(), FILE).exit == settings


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("offer = 1", "true or false"),
        ('use = ["Paris!"]', "is no member's name"),
        ('use = ["a", "a"]', "twice"),
        (f"use = {[f'm{n}' for n in range(MAX_EXITS + 1)]}", "more than 8 exits"),
        ('offer = true\nuse = ["a"]', "offer = false"),
        ('lan = ["192.168.1.1/24"]', "host bits"),
        ('lan = ["lan"]', "is not an IP prefix"),
        ('lan = ["0.0.0.0/0"]', "meshnode exit off"),
        (f"lan = {[f'10.0.{n}.0/24' for n in range(MAX_LAN + 1)]}", "more than 64"),
        ('exit = "paris"', "no known key"),
    ],
)
def test_mistakes_are_named(lines: str, why: str) -> None:
    """With the remedy."""
    with pytest.raises(ConfigError, match=why):
        parse_config(f"[exit]\n{lines}\n".encode(), FILE)


def test_a_mark_that_all_packets_bear_is_refused() -> None:
    """The kill switch would let everything out."""
    text = b'[node]\nfwmark = 0\n[exit]\nuse = ["paris"]\n'
    with pytest.raises(ConfigError, match=r"node\.fwmark: must not be 0"):
        parse_config(text, FILE)


def test_words_of_a_command_are_read_alike() -> None:
    """And named as they were written."""
    found = check_exit(use=["paris"], lan=["192.168.1.0/24"], kill_switch=False)
    assert found == ExitSettings(use=("paris",), lan=LAN[:1], kill_switch=False)
    with pytest.raises(ConfigError, match=r"'192\.168\.1\.1/24' has host bits"):
        check_exit(use=["paris"], lan=["192.168.1.1/24"], kill_switch=True)
    with pytest.raises(ConfigError, match="use: names an exit twice"):
        check_exit(use=["a", "a"], lan=[], kill_switch=True)
