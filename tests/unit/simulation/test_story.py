"""The story: a sequence diagram that a person can read."""

import re

from meshnode.simulation.links import Link
from meshnode.simulation.story import diagram, tell
from meshnode.simulation.trace import Mark, Row
from meshnode.simulation.world import World


def test_arrows_run_between_the_columns():
    """To the right, to the left, across a third, with delay and mark."""
    lines = diagram(
        ["a", "b", "c"],
        [
            Row(1.0, "a", "b", "initiation", Mark.NONE, 0.98),
            Row(1.5, "c", "a", "response", Mark.DUPLICATE, 1.4),
            Row(2.0, "b", "c", "data #3", Mark.LOST, 2.0),
        ],
    )
    assert re.match(r"time \(s\) +a +b +c$", lines[0])
    assert re.search(r"^1\.0000 +\|-+ initiation -+>\| +\| .*\+20 ms", lines[1])
    assert re.search(r"^1\.5000 +\|<-+ response -+\| .*\(duplicate\) .*\+100", lines[2])
    assert re.search(r"^2\.0000 +\| +\|-+ data #3 -+x\| .*\(lost\)", lines[3])


def test_notes_stand_in_the_column_of_their_host():
    """And what went to nobody says so."""
    lines = diagram(
        ["a", "b"],
        [
            Row(1.0, "b", "", "control crashes"),
            Row(2.0, "a", "?", "data #1", Mark.NO_SUCH_ADDRESS, 2.0),
        ],
    )
    assert lines[1].index("* control crashes") == lines[0].index("b")
    assert "data #1 (nobody has this address)" in lines[2]


def test_the_attacker_has_a_column_only_if_it_acts():
    """A star, left of all hosts."""
    row = Row(1.0, "*", "a", "garbage (3 B)", Mark.FORGED, 1.0)
    assert "*" in diagram(["a"], [row])[0]
    assert "*" not in diagram(["a"], [])[0]


def test_unknown_hosts_and_own_packets_are_told_too():
    """Nothing breaks the diagram."""
    lines = diagram(
        ["a"], [Row(1.0, "z", "", "what"), Row(2.0, "a", "a", "data #1", sent_at=2.0)]
    )
    assert lines[1].endswith("z: what")
    assert lines[2].endswith("data #1 to itself")


def test_the_whole_story():
    """Seed, time, what each host waits for and why, and the last rows."""
    world = World(77, link=Link(blackhole=True))
    world.add_host("a")
    world.add_host("b")
    world.introduce("a", "b")
    world.hosts["a"].request("b")
    world.run(3)
    text = tell(world, last=1)
    assert "seed 77, virtual time 3.000000 s" in text
    assert re.search(r"a: boottime 3.000, next deadline .*: retransmit handshake", text)
    assert "b: boottime 3.000, no deadline" in text
    assert text.count("\n") == 6
