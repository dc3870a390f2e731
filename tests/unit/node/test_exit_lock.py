"""What a configuration says of the full tunnel, and of its kill switch."""

from dataclasses import replace
from pathlib import Path

import pytest

from meshnode.host.lock import Lock
from meshnode.hostplan import FullTunnel
from meshnode.manage.config_values import AnnouncedRoute, ExitSettings, NetworkConfig
from meshnode.manage.network_config import save_config
from meshnode.node import exit_lock
from meshnode.node.exit_lock import full_tunnel_of, lift_unwanted, lock_early
from meshnode.node.reserved import fwmark_of
from meshnode.types import Prefix
from tests.founded_node import directories_in

LAN, OURS, MAPPED, EVERYTHING = map(
    Prefix.parse, ("192.168.1.0/24", "192.168.7.0/24", "10.1.7.0/24", "0.0.0.0/0")
)
PLAIN = NetworkConfig("mesh0")
USING = replace(PLAIN, exit=ExitSettings(use=("paris",), lan=(LAN,)))
LOOSE = replace(PLAIN, exit=ExitSettings(use=("paris",), kill_switch=False))


def test_only_who_uses_an_exit_has_a_full_tunnel() -> None:
    """What we announce stays outside, as the LAN knows it; never everything."""
    assert full_tunnel_of(PLAIN) is None
    assert full_tunnel_of(replace(PLAIN, exit=ExitSettings(offer=True))) is None
    assert full_tunnel_of(USING) == FullTunnel((LAN,))
    assert full_tunnel_of(LOOSE) == FullTunnel((), kill_switch=False)
    announced = (
        AnnouncedRoute(MAPPED, mapped=OURS),
        AnnouncedRoute(LAN),
        AnnouncedRoute(EVERYTHING),
    )
    assert full_tunnel_of(replace(USING, announced=announced)) == FullTunnel(
        (LAN, OURS)
    )


def test_the_lock_is_there_before_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the configuration wants it, and only then."""
    put: list[Lock] = []
    monkeypatch.setattr(exit_lock, "put_lock", put.append)
    for config in (PLAIN, LOOSE, USING):
        lock_early("home", config)
    assert put == [Lock("home", "mesh0", fwmark_of(USING), (LAN,))]


def test_what_no_configuration_wants_is_lifted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that cannot be read may want it."""
    directories = directories_in(tmp_path)
    for name, config in (("a", PLAIN), ("b", USING), ("c", LOOSE), ("d", PLAIN)):
        save_config(directories.config_file(name), config)
    save_config(directories.config_file("e"), PLAIN)
    directories.config_file("e").write_text("rubbish")
    locked, lifted = {"a", "b", "c", "e"}, []
    monkeypatch.setattr(exit_lock, "is_locked", lambda name: name in locked)
    monkeypatch.setattr(exit_lock, "lift", lifted.append)
    assert lift_unwanted(directories) == [
        "lifted the kill switch of a",
        "lifted the kill switch of c",
    ]
    assert lifted == ["a", "c"]
