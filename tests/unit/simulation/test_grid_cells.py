"""Cells of the grid: how they are read, told and weighed."""

import pytest

from meshnode.errors import ConfigError
from meshnode.simulation.grid_cells import (
    KINDS,
    MIX,
    SHORT,
    Cell,
    Way,
    as_json,
    as_markdown,
    as_text,
    direct_share,
    parse_pairs,
    summary,
)
from meshnode.simulation.nat_kinds import NatKind

OPEN, SYMMETRIC, BLOCKED = NatKind.OPEN, NatKind.SYMMETRIC, NatKind.BLOCKED

DIRECT = Cell(
    OPEN,
    SYMMETRIC,
    way=Way.DIRECT,
    first_byte=0.12,
    answered=0.1604,
    direct=0.2081,
    round_trip=0.04,
    probes=7,
    sockets=2,
)
RELAYED = Cell(SYMMETRIC, SYMMETRIC, way=Way.RELAYED, answered=0.16)
LOST = Cell(BLOCKED, OPEN)


def test_every_kind_has_a_name_of_its_own():
    """And its place in the table is that of the enumeration."""
    assert tuple(NatKind) == KINDS
    assert len(set(SHORT.values())) == len(NatKind) == 11


def test_the_mix_is_of_everybody():
    """Its shares make one."""
    assert set(MIX) == set(NatKind)
    assert sum(MIX.values()) == pytest.approx(1.0)


def test_pairs_are_read():
    """In their order; nothing means all."""
    assert parse_pairs("open,sym; sym,open") == ((OPEN, SYMMETRIC), (SYMMETRIC, OPEN))
    assert len(set(parse_pairs(""))) == 121


@pytest.mark.parametrize("text", ["open", "open,sym,open", "open,tls", ";", "open;sym"])
def test_what_is_no_pair_is_refused(text):
    """The message names what there is."""
    with pytest.raises(ConfigError, match="apdf-acc"):
        parse_pairs(text)


def test_a_table_says_how_each_pair_speaks():
    """Milliseconds where it is direct, else a letter; what was not played is empty."""
    rows = [line.split() for line in as_text([DIRECT, RELAYED, LOST]).splitlines()]
    assert rows == [["open", "sym"], ["open", "208"], ["sym", "R"], ["blocked", "-"]]


def test_markdown_has_a_table_for_each_time():
    """To the direct path, and to the first answer."""
    lines = as_markdown([DIRECT, RELAYED]).splitlines()
    assert lines.count("|  | sym |") == 2
    assert "| open | 208 |" in lines
    assert "| open | 160 |" in lines
    assert "| sym | R |" in lines


def test_json_has_milliseconds():
    """None for what never was."""
    assert as_json(DIRECT) == {
        "from": "open",
        "to": "sym",
        "path": "direct",
        "first_byte_ms": 120.0,
        "answered_ms": 160.4,
        "direct_ms": 208.1,
        "rtt_ms": 40.0,
        "can_be_direct": True,
        "probes": 7,
        "sockets": 2,
    }
    assert as_json(LOST)["answered_ms"] is None


def test_a_summary_counts():
    """And says how many could be direct."""
    assert summary([DIRECT, RELAYED, LOST]) == (
        "3 pairs: 2 connected, 1 direct (possible: 1), 1 relayed, 0 by TLS, "
        "1 not at all"
    )


def test_shares_are_weighed():
    """By how common the kinds are, with and without those that have no UDP."""
    cells = [DIRECT, RELAYED, LOST]
    direct = MIX[OPEN] * MIX[SYMMETRIC]
    with_udp = direct + MIX[SYMMETRIC] ** 2
    everything = with_udp + MIX[BLOCKED] * MIX[OPEN]
    assert direct_share(cells, with_udp=True) == pytest.approx(direct / with_udp)
    assert direct_share(cells, with_udp=False) == pytest.approx(direct / everything)
    assert direct_share([], with_udp=True) == 0.0
