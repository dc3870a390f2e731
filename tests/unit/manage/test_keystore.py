"""Named keys: storing, sealing, rotating, and what is refused."""

import os
import random
from pathlib import Path
from typing import Any

import pytest

from meshnode.crypto import passphrase
from meshnode.crypto.keys import PresharedKey, PrivateKey
from meshnode.errors import ConfigError
from meshnode.manage.keyfile import SealedKey
from meshnode.manage.keystore import (
    KeyInfo,
    KeyStore,
    UnknownKeyError,
    check_key_name,
)

ONE, TWO, THREE = (PrivateKey(bytes([n]) * 32) for n in (1, 2, 3))
PSK = PresharedKey(b"\x42" * 32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the keys are, once there is one."""
    return tmp_path / "etc" / "keys"


@pytest.fixture
def store(path: Path) -> KeyStore:
    """A store whose directory is not there yet."""
    return KeyStore(path)


@pytest.fixture
def sealed(monkeypatch: pytest.MonkeyPatch, rng: random.Random) -> SealedKey:
    """The first key, sealed cheaply."""
    monkeypatch.setattr(passphrase, "OPERATIONS", 1)
    monkeypatch.setattr(passphrase, "MEMORY", 8192)
    return SealedKey.seal(ONE, b"secret", entropy=rng.randbytes)


@pytest.mark.parametrize("name", ["a", "home", "0", "a-b", "a--b", "x" * 63])
def test_labels_are_names(name: str) -> None:
    """Lower-case letters, digits and inner hyphens make a name."""
    assert check_key_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "-", "-a", "a-", "A", "a.b", "a/b", "..", "a b", "a\n", "é", "x" * 64, "a_b"],
)
def test_other_names_are_refused(store: KeyStore, path: Path, name: str) -> None:
    """No other name reaches the file system."""
    with pytest.raises(ConfigError):
        check_key_name(name)
    with pytest.raises(ConfigError):
        store.save(name, ONE, overwrite=False)
    with pytest.raises(ConfigError):
        store.load(name)
    assert not path.exists()


def test_the_first_key_makes_the_directory(store: KeyStore, path: Path) -> None:
    """Directory and file are private, and the file is as wg writes it."""
    store.save("home", ONE, overwrite=False)
    assert path.stat().st_mode & 0o7777 == 0o700
    assert (path / "home.key").stat().st_mode & 0o7777 == 0o600
    assert (path / "home.key").read_text() == ONE.to_base64() + "\n"
    assert store.load("home") == ONE


def test_reading_makes_no_directory(store: KeyStore, path: Path) -> None:
    """Nor does changing what is not there."""
    assert store.names() == []
    for call in (store.load, store.load_preshared, store.info, store.remove):
        with pytest.raises(UnknownKeyError) as caught:
            call("home")
        assert caught.value.exit_code == 3
    for call in (store.finish_rotation, store.undo_rotation):
        with pytest.raises(UnknownKeyError):
            call("home")
    with pytest.raises(UnknownKeyError):
        store.rotate("home", ONE)
    assert not path.exists()


def test_a_key_is_overwritten_only_on_demand(store: KeyStore) -> None:
    """Without force the old key stays."""
    store.save("home", ONE, overwrite=False)
    store.save_preshared("home", PSK, overwrite=False)
    with pytest.raises(ConfigError, match="--force"):
        store.save("home", TWO, overwrite=False)
    with pytest.raises(ConfigError, match="--force"):
        store.save_preshared("home", PresharedKey.none(), overwrite=False)
    assert store.load("home") == ONE
    assert store.load_preshared("home") == PSK
    store.save("home", TWO, overwrite=True)
    store.save_preshared("home", PresharedKey.none(), overwrite=True)
    assert store.load("home") == TWO
    assert store.load_preshared("home") == PresharedKey.none()


def test_names_are_those_of_keys_only(store: KeyStore, path: Path) -> None:
    """Other files in the directory are not keys."""
    store.save("b", ONE, overwrite=False)
    store.save_preshared("a", PSK, overwrite=False)
    for other in ("README", "c.old", "D.key", ".e.key", "f.key.tmp", "g.txt"):
        (path / other).touch(mode=0o600)
    assert store.names() == ["a", "b"]


def test_info_tells_the_state(store: KeyStore, sealed: SealedKey) -> None:
    """Public keys, form, rotation and preshared key, without a passphrase."""
    store.save("home", sealed, overwrite=False)
    store.save_preshared("home", PSK, overwrite=False)
    assert store.info("home") == KeyInfo("home", ONE.public_key(), True, None, True)
    store.rotate("home", TWO)
    assert store.info("home") == KeyInfo(
        "home", TWO.public_key(), False, ONE.public_key(), True
    )


def test_info_of_a_preshared_key_alone(store: KeyStore) -> None:
    """A name may have no private key."""
    store.save_preshared("home", PSK, overwrite=False)
    assert store.info("home") == KeyInfo("home", None, False, None, True)
    with pytest.raises(UnknownKeyError):
        store.load("home")


def test_a_key_changes_its_form_in_place(
    store: KeyStore, sealed: SealedKey, path: Path
) -> None:
    """Sealed, its clear text is in no file; unsealed, it is back."""
    store.save("home", ONE, overwrite=False)
    store.reseal("home", sealed)
    assert store.load("home") == sealed
    assert os.listdir(path) == ["home.key"]
    assert ONE.to_base64() not in (path / "home.key").read_text()
    store.reseal("home", ONE)
    assert store.load("home") == ONE


def test_another_key_is_not_put_in_its_place(store: KeyStore) -> None:
    """A key that was changed between reading and writing stays."""
    store.save("home", TWO, overwrite=False)
    with pytest.raises(ConfigError, match="changed"):
        store.reseal("home", ONE)
    assert store.load("home") == TWO


def test_sealing_waits_for_the_end_of_a_rotation(
    store: KeyStore, sealed: SealedKey
) -> None:
    """Else the old key would stay in clear unnoticed."""
    store.save("home", TWO, overwrite=False)
    store.rotate("home", ONE)
    with pytest.raises(ConfigError, match="--finish"):
        store.reseal("home", sealed)


def test_rotation_keeps_the_old_key_until_it_is_finished(
    store: KeyStore, path: Path
) -> None:
    """The new key is in force at once, the old one is dropped at the end."""
    store.save("home", ONE, overwrite=False)
    store.rotate("home", TWO)
    assert store.load("home") == TWO
    assert (path / "home.old").read_text() == ONE.to_base64() + "\n"
    assert (path / "home.old").stat().st_mode & 0o7777 == 0o600
    store.finish_rotation("home")
    assert os.listdir(path) == ["home.key"]
    assert store.load("home") == TWO


def test_rotation_can_be_undone(store: KeyStore, path: Path) -> None:
    """The old key is back and the new one gone."""
    store.save("home", ONE, overwrite=False)
    store.rotate("home", TWO)
    store.undo_rotation("home")
    assert store.load("home") == ONE
    assert os.listdir(path) == ["home.key"]


def test_a_second_rotation_waits_for_the_first(store: KeyStore) -> None:
    """The old key that peers may still know is not lost."""
    store.save("home", ONE, overwrite=False)
    store.rotate("home", TWO)
    with pytest.raises(ConfigError, match="--finish"):
        store.rotate("home", THREE)
    assert store.info("home").old_public_key == ONE.public_key()
    assert store.load("home") == TWO


def test_what_was_not_begun_cannot_be_ended(store: KeyStore) -> None:
    """Finish and back need a rotation."""
    store.save("home", ONE, overwrite=False)
    for call in (store.finish_rotation, store.undo_rotation):
        with pytest.raises(ConfigError, match="no rotation"):
            call("home")
    assert store.load("home") == ONE


def test_a_rotation_killed_half_way_has_not_happened(
    store: KeyStore, path: Path
) -> None:
    """Two names of one file are no rotation, and no obstacle to the next."""
    store.save("home", ONE, overwrite=False)
    os.link(path / "home.key", path / "home.old")
    assert store.info("home").old_public_key is None
    with pytest.raises(ConfigError, match="no rotation"):
        store.undo_rotation("home")
    store.rotate("home", TWO)
    assert store.info("home").old_public_key == ONE.public_key()


def test_no_key_is_lost_when_a_rotation_is_killed(
    store: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At whichever rename or link it ends, the old key is still there."""

    class Killed(BaseException):
        pass

    for name in ("link", "rename"):
        store.save("home", ONE, overwrite=True)

        def die(*_: Any, **__: Any) -> None:
            raise Killed

        monkeypatch.setattr(os, name, die)
        with pytest.raises(Killed):
            store.rotate("home", TWO)
        monkeypatch.undo()
        assert store.load("home") == ONE
    store.rotate("home", TWO)
    assert store.info("home").old_public_key == ONE.public_key()


def test_removing_leaves_nothing(store: KeyStore, path: Path) -> None:
    """Private, old and preshared key go; other names stay."""
    for name in ("home", "away"):
        store.save(name, ONE, overwrite=False)
        store.save_preshared(name, PSK, overwrite=False)
    store.rotate("home", TWO)
    store.remove("home")
    assert sorted(os.listdir(path)) == ["away.key", "away.psk"]
    with pytest.raises(UnknownKeyError):
        store.remove("home")


def test_a_bad_file_is_named_and_not_shown(store: KeyStore, path: Path) -> None:
    """The error tells where to look, and nothing of what is there."""
    store.save("home", ONE, overwrite=False)
    text = ONE.to_base64()
    (path / "home.key").write_text(text + text)
    (path / "home.psk").write_text(text[:-2])
    (path / "home.psk").chmod(0o600)
    for call in (store.load, store.load_preshared):
        with pytest.raises(ConfigError, match=str(path)) as caught:
            call("home")
        assert text[:16] not in str(caught.value)
        assert "\n" not in str(caught.value)


def test_no_value_shows_a_secret(store: KeyStore) -> None:
    """What the store returns has no secret in its text."""
    store.save("home", ONE, overwrite=False)
    store.save_preshared("home", PSK, overwrite=False)
    for value in (store.load("home"), store.load_preshared("home"), store.info("home")):
        assert ONE.to_base64()[:16] not in repr(value)
        assert PSK.to_base64()[:16] not in repr(value)
