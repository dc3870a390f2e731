"""Any bytes as a configuration: one line that names the file, or a configuration."""

import random
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from meshnode.errors import ConfigError
from meshnode.manage.config_text import parse_config, serialise_config

PATH = Path("/etc/meshnode/home.toml")
VALID = b"""\
[node]
interface = "wg7"
listen_port = 51820
advertise = ["vpn.example.org:51820", "[2001:db8::1]:1"]
mtu = 1420
table = "auto"
fwmark = 7

[routes]
accept = ["10.0.0.0/8"]

[[routes.announce]]
prefix = "10.1.0.0/24"
metric = 5
masquerade = false
map = "192.168.1.0/24"

[[wireguard]]
name = "phone"
public_key = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="
endpoint = "192.0.2.9:1"
allowed_ips = ["10.9.0.0/16"]
keepalive = 25

[metrics]
listen = "127.0.0.1:9105"

[exit]
use = ["paris", "berlin"]
lan = ["192.168.1.0/24"]
kill_switch = false
"""
WORDS = [
    *("[node]", "[routes]", "[[routes.announce]]", "[[wireguard]]", "[metrics]", "[x]"),
    *("[exit]", "offer", "use", "lan", "kill_switch", '["paris"]', "false"),
    *("interface", "listen_port", "prefix", "accept", "name", "public_key", "table"),
    *("=", " = ", "1", "-1", "0x10", "1e5", "inf", "nan", "true", '"a"', "[]", "{}"),
    *("[1, [2]]", '["10.0.0.0/8"]', "1979-05-27", "'''", '"""', "\\", "#", "\n", "."),
    *("{a = 1}", '"\\u0000"', '"\\ud800"', "\r", "\0", "\xff", "é"),
]


def check_text(text: str) -> None:
    """An error is one line, not too long, and begins with the file's name."""
    assert text.startswith(f"{PATH}: ")
    assert text.isprintable()
    assert len(text) < 500


def check(data: bytes) -> None:
    """Whatever *data* is, the outcome is one of two."""
    try:
        config = parse_config(data, PATH)
    except ConfigError as error:
        check_text(str(error))
        return
    written = serialise_config(config).encode()
    assert parse_config(written, PATH) == config


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    """Also none, and no text."""
    check(data)


@given(st.lists(st.sampled_from(WORDS), max_size=40))
def test_any_words(words: list[str]) -> None:
    """What looks like TOML at places."""
    check("".join(words).encode("latin-1"))
    check("\n".join(words).encode())


def test_mutated_configurations(rng: random.Random, seed: int) -> None:
    """A good one with bytes changed, lost and doubled, and lines exchanged."""
    for _ in range(4000):
        data = bytearray(VALID)
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(len(data))
            match rng.randrange(4):
                case 0:
                    data[place] = rng.randrange(256)
                case 1:
                    del data[place : place + rng.randint(1, 30)]
                case 2:
                    data[place:place] = data[place : place + rng.randint(1, 30)]
                case _:
                    lines = bytes(data).splitlines(keepends=True)
                    rng.shuffle(lines)
                    data = bytearray(b"".join(lines))
            if not data:
                break
        try:
            check(bytes(data))
        except Exception as error:
            raise AssertionError(f"seed {seed}: {bytes(data)!r}") from error
