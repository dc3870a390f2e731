"""Joining by a token: what is kept on disk, and for how long."""

import time
from pathlib import Path

import pytest

from meshnode.crypto.keys import PrivateKey
from meshnode.errors import ConfigError
from meshnode.manage.identity import load_joining
from meshnode.manage.paths import Directories
from meshnode.mesh.joining import JoinRefusedError
from meshnode.mesh.token import Token
from meshnode.node import joiner
from meshnode.node.exchange import NoAnswerError
from meshnode.node.joiner import JoinOptions, join_by_token


@pytest.fixture
def directories(tmp_path: Path) -> Directories:
    """Directories of a host that is in no network."""
    return Directories(*[tmp_path / name for name in ("etc", "lib", "run", "uapi")])


def _token(expires_in: int = 600) -> str:
    return Token(
        network_id=bytes(16),
        invite_private=PrivateKey(b"\x11" * 32),
        issuer_key=PrivateKey(b"\x22" * 32).public_key().raw,
        endpoints=("192.0.2.1:7",),
        expires=int(time.time()) + expires_in,
        network="home",
    ).serialise()


def _options(name: str = "ann") -> JoinOptions:
    return JoinOptions(
        bootstrap=(),
        name=name,
        listen_port=0,
        interface=None,
        advertise=(),
        accept_routes=False,
        timeout=1.0,
    )


def _answer(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def exchange(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(joiner, "exchange", exchange)


@pytest.mark.parametrize("code", ["used", "expired", "revoked", "name-taken"])
def test_refused_host_keeps_nothing(
    directories: Directories, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """Neither keys nor the token, for nothing was issued for them."""
    _answer(monkeypatch, JoinRefusedError(code, "no"))
    with pytest.raises(JoinRefusedError):
        join_by_token(_token(), _options(), directories)
    assert load_joining(directories.state_dir("home")) is None
    assert not directories.config_file("home").exists()


@pytest.mark.parametrize(
    "error", [NoAnswerError("silence"), JoinRefusedError("unknown", "who?")]
)
def test_host_without_a_final_answer_asks_with_the_same_keys(
    directories: Directories, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """The issuer may have certified them; but the name is what was said last."""
    _answer(monkeypatch, error)
    token, found = _token(), []
    for name in ("ann", "ben"):
        with pytest.raises(type(error)):
            join_by_token(token, _options(name), directories)
        found.append(load_joining(directories.state_dir("home")))
    first, second = found
    assert first is not None
    assert second is not None
    assert first.keys == second.keys
    assert (first.name, second.name) == ("ann", "ben")


def test_other_token_is_asked_with_other_keys(
    directories: Directories, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two invites are two hosts."""
    _answer(monkeypatch, NoAnswerError("silence"))
    found = []
    for expires_in in (600, 700):
        with pytest.raises(NoAnswerError):
            join_by_token(_token(expires_in), _options(), directories)
        found.append(load_joining(directories.state_dir("home")))
    assert found[0] is not None
    assert found[1] is not None
    assert found[0].keys != found[1].keys


def test_long_expired_token_touches_nothing(directories: Directories) -> None:
    """Nobody is asked, and no directory is made."""
    with pytest.raises(ConfigError, match="expired"):
        join_by_token(_token(-3600), _options(), directories)
    assert not directories.state_dir("home").exists()
