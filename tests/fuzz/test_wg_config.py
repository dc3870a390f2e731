"""Anything for a wg-quick file: read, or refused with a line for the user."""

from hypothesis import given
from hypothesis import strategies as st

from meshnode.errors import ConfigError
from meshnode.manage.wg_config import WgConfig, parse_wg_config

KEY = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
WORDS = st.sampled_from(
    [
        *("[Interface]", "[Peer]", "[peer]", "#", "# laptop", "", "PublicKey = " + KEY),
        *("PublicKey =", "AllowedIPs = ::/0, 10.0.0.0/8", "AllowedIPs = ,"),
        *("Endpoint = [::1]:1", "Endpoint = a.b:99999", "ListenPort = 00001"),
        *("ListenPort = ٣", "PersistentKeepalive = off", "Address = 10.0.0.1"),
        *("PresharedKey = " + KEY, "PrivateKey = " + KEY, "MTU = x", "\x0b", "\r"),
    ]
)


def read(text: str) -> WgConfig | None:
    """Read it; only `ConfigError` may come out, in one line."""
    try:
        return parse_wg_config(text)
    except ConfigError as error:
        problem = str(error)
    assert problem
    assert "\n" not in problem
    return None


@given(st.text())
def test_any_text(text: str) -> None:
    """Never another exception."""
    read(text)


@given(st.lists(WORDS | st.text(max_size=20), max_size=30))
def test_lines_that_look_like_it(lines: list[str]) -> None:
    """What is read has keys, and no peer twice."""
    config = read("\n".join(lines))
    if config is not None:
        keys = [peer.public_key for peer in config.peers]
        assert len(set(keys)) == len(keys)
        assert 0 <= config.listen_port <= 65535
