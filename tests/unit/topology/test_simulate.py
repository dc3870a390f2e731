"""The simulated runner: it plays every shipped file, and sees what does not hold."""

import ipaddress
from pathlib import Path

import pytest

from topology import simulate
from topology.narrator import Narrator
from topology.parsing import load, parse
from topology.processes import LabError
from topology.simulate import SimulatedLab

FILES = sorted(Path(simulate.__file__).parent.glob("*.toml"))

PAIR = """
[network]
name = "pair"
cidr = "10.77.0.0/16"
[[node]]
name = "alice"
runs = "meshnode"
founder = true
[[node]]
name = "bob"
runs = "meshnode"
joins = "invite"
[[lan]]
name = "internet"
prefix = "198.18.0.0/24"
members = ["alice", "bob"]
"""


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_shipped_file_holds(file):
    """In virtual time, so without waiting and without privileges."""
    assert simulate.play(load(file), Narrator()) == []


def test_what_does_not_hold_is_told():
    """A claim that is wrong, each way."""
    text = PAIR + (
        '[[step]]\nname = "ping"\ndo = "ping"\nnode = "alice"\nto = "bob"\n'
        '[[must]]\nafter = "ping"\nfrom = "alice"\nnot_reach = "bob"\nwithin = "3s"\n'
        '[[step]]\nname = "bob goes"\ndo = "stop"\nnode = "bob"\n'
        '[[must]]\nafter = "bob goes"\nfrom = "alice"\nreach = "bob"\nwithin = "3s"\n'
    )
    failed = simulate.play(parse(text, "pair"), Narrator())
    assert failed == [
        "alice → bob: bob answers alice after 3 s",
        "alice → bob: bob did not answer alice in 3 s",
    ]


def test_a_step_that_fails_ends_the_play():
    """What comes after it would prove nothing."""
    text = PAIR + (
        '[[step]]\ndo = "cut"\nnode = "bob"\nlan = "internet"\n'
        '[[step]]\ndo = "ping"\nnode = "alice"\nto = "bob"\nwithin = "2s"\n'
    )
    failed = simulate.play(parse(text, "pair"), Narrator())
    assert failed == ["ping alice: bob did not answer alice in 2 s"]


def test_hosts_have_the_addresses_of_the_file():
    """And the mesh the prefix."""
    lab = SimulatedLab(parse(PAIR, "pair"))
    lab.start()
    assert lab.world.hosts["bob"].addresses == {4: "198.18.0.2"}
    address = ipaddress.ip_address(lab.world.address("bob"))
    assert address in ipaddress.ip_network("10.77.0.0/16")


def test_who_cannot_reach_the_founder_does_not_join():
    """That is said."""
    text = PAIR.replace('joins = "invite"\n', "") + (
        '[[step]]\ndo = "cut"\nnode = "bob"\nto = "alice"\n'
        '[[step]]\ndo = "join"\nnode = "bob"\n'
    )
    lab = SimulatedLab(parse(text, "pair"))
    lab.start()
    cut, join = lab.description.steps
    lab.carry_out(cut)
    with pytest.raises(LabError, match="bob did not become a member"):
        lab.carry_out(join)
