"""The pure parts of the measurement of the control side, and one real command."""

import sys

from meshnode.manage.wg_config import parse_wg_config
from topology.control_speed import command, configuration, daemon_command

KEY = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk="


def test_what_keeps_a_program_in_the_foreground_is_left_out() -> None:
    """Each program has its own word for that."""
    words = ["meshnode-wg", "--foreground", "--engine", "fast"]
    assert daemon_command(words) == ["meshnode-wg", "--engine", "fast"]
    assert daemon_command(["wireguard-go", "-f"]) == ["wireguard-go"]


def test_a_configuration_has_as_many_different_peers_as_asked_for() -> None:
    """More than a /16 of them, each with an address and an endpoint of its own."""
    parsed = parse_wg_config(configuration(KEY, 300))
    assert len({peer.public_key for peer in parsed.peers}) == 300
    prefixes = [prefix for peer in parsed.peers for prefix in peer.allowed_ips]
    assert len(set(prefixes)) == 300
    assert configuration(KEY, 65_536).count("\n[Peer]") == 65_536


def test_a_command_takes_time() -> None:
    """Its environment is what it is given, too."""
    script = "import os, sys; sys.exit(os.environ['X'] != 'y')"
    assert command([sys.executable, "-c", script], environment={"X": "y"}) > 0
