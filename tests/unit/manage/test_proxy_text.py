"""The tables `[[proxy]]`: read strictly, written back, and nothing open to others."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnode.errors import ConfigError
from meshnode.manage.proxy_text import (
    KINDS,
    MAX_LISTENERS,
    ProxyListener,
    is_private,
    parse_place,
    proxy_section,
    read_proxies,
)
from meshnode.manage.toml_reader import parse_document
from meshnode.types import Endpoint

LISTEN = '[[proxy]]\nlisten = "127.0.0.1:1080"\n'


def read(text: str) -> tuple[ProxyListener, ...]:
    """Return the listeners of a document with nothing else in it."""
    document = parse_document(text.encode(), "home.toml")
    found = read_proxies(document)
    document.finish()
    return found


def test_everything_is_read() -> None:
    """Each key; what is left out is as by default."""
    text = (
        LISTEN
        + '[[proxy]]\nlisten = "unix:/run/x"\nkind = "socks"\nexit = ["paris"]\n'
        + 'users_file = "/etc/users"\nallow = ["example.org"]\ndeny = ["*:22"]\n'
        + 'mode = "0660"\n'
    )
    plain, full = read(text)
    assert plain == ProxyListener(Endpoint("127.0.0.1", 1080))
    assert full == ProxyListener(
        Path("/run/x"),
        "socks",
        ("paris",),
        Path("/etc/users"),
        ("example.org",),
        ("*:22",),
        mode="0660",
    )
    assert (plain.place, full.place) == ("127.0.0.1:1080", "unix:/run/x")
    assert (
        read('[[proxy]]\nlisten = "[::1]:1"\nusers_file = ""\n')[0].users_file is None
    )


@given(
    listen=st.sampled_from(
        [Endpoint("127.0.0.1", 1), Endpoint("::1", 65535), Path('/run/a "b"')]
    ),
    kind=st.sampled_from(KINDS),
    exits=st.lists(st.sampled_from(["a", "b-1", "c"]), unique=True),
    users=st.sampled_from([None, Path("/etc/u")]),
    rules=st.lists(st.sampled_from(["*", "a.org:1", "10.0.0.0/8", "http://a/b"])),
)
def test_what_is_written_is_read(
    listen: Endpoint | Path,
    kind: str,
    exits: list[str],
    users: Path | None,
    rules: list[str],
) -> None:
    """Every listener survives its file."""
    mode = "0666" if isinstance(listen, Path) else "0600"
    listener = ProxyListener(
        listen, kind, tuple(exits), users, tuple(rules), tuple(rules), mode=mode
    )
    assert read(proxy_section(listener)) == (listener,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[proxy]]\n", "proxy[0].listen: is missing"),
        ('[[proxy]]\nlisten = "a.org:1"', "is not ADDRESS:PORT with a numeric address"),
        ('[[proxy]]\nlisten = "127.0.0.1:0"', "is not ADDRESS:PORT"),
        ('[[proxy]]\nlisten = "unix:x"', "is not unix: and an absolute path"),
        ('[[proxy]]\nlisten = "unix:/a/../b"', "is not unix: and an absolute path"),
        (f'[[proxy]]\nlisten = "unix:/{"x" * 107}"', "is longer than 107 bytes"),
        (
            '[[proxy]]\nlisten = "0.0.0.0:1080"',
            "proxy[0].listen: 0.0.0.0:1080 is no address of loopback, so others could "
            "use it: give users_file",
        ),
        (LISTEN + 'kind = "ftp"', "is none of mixed, socks, http"),
        (LISTEN + 'exit = ["a", "a"]', "proxy[0].exit: has a member twice"),
        (LISTEN + 'exit = ["a b"]', "is no name of a member"),
        (LISTEN + f"exit = {[f'm{n}' for n in range(9)]}", "has more than 8 members"),
        (LISTEN + 'users_file = "users"', "is not an absolute path"),
        (LISTEN + 'allow = ["a b"]', "proxy[0].allow[0]"),
        (LISTEN + 'mode = "0666"', "proxy[0].mode: is for a Unix socket"),
        (LISTEN + "port = 1", "proxy[0].port: is no known key"),
        (LISTEN * 2, "home.toml: proxy: 127.0.0.1:1080 is there twice; leave one"),
    ],
)
def test_errors_name_key_and_remedy(text: str, message: str) -> None:
    """Every rule."""
    with pytest.raises(ConfigError) as refusal:
        read(text)
    assert message in str(refusal.value)


def test_there_is_an_end_of_listeners() -> None:
    """Each of them may have a thousand clients."""
    text = "".join(
        f'[[proxy]]\nlisten = "127.0.0.1:{1080 + n}"\n'
        for n in range(MAX_LISTENERS + 1)
    )
    with pytest.raises(ConfigError, match="has more than 32 listeners"):
        read(text)


@pytest.mark.parametrize(
    ("place", "private"),
    [
        ("127.0.0.1:1", True),
        ("127.9.9.9:1", True),
        ("[::1]:1", True),
        ("unix:/x", True),
        ("10.0.0.1:1", False),
        ("[::]:1", False),
        ("[fe80::1%2]:1", False),
    ],
)
def test_who_can_reach_a_place(place: str, private: bool) -> None:
    """Loopback and paths are this host's alone."""
    assert is_private(parse_place(place)) == private


def test_fields_of_requests_are_changed_by_name() -> None:
    """They are written back, and none is the proxy's own, or for SOCKS."""
    lines = 'set_headers = ["User-Agent: quiet"]\nremove_headers = ["Referer"]\n'
    (listener,) = read(f'{LISTEN}kind = "http"\n{lines}')
    assert listener.set_headers == ("User-Agent: quiet",)
    assert listener.remove_headers == ("Referer",)
    assert read(proxy_section(listener)) == (listener,)
    for wrong in ('set_headers = ["Host: a"]', 'remove_headers = ["Via"]'):
        with pytest.raises(ConfigError, match=r"headers.*the proxy's own"):
            read(f"{LISTEN}{wrong}\n")
    with pytest.raises(ConfigError, match="is not NAME: VALUE"):
        read(f'{LISTEN}set_headers = ["secret"]\n')
    with pytest.raises(ConfigError, match="is for HTTP"):
        read(f'{LISTEN}kind = "socks"\n{lines}')
