"""The oracle says what was measured: which pairs met, and that nothing else can."""

import itertools

import pytest

from meshnode.simulation.nat_kinds import NatKind
from meshnode.simulation.nat_oracle import Technique, can_be_direct, technique

ORDER = [kind for kind in NatKind if kind is not NatKind.BLOCKED]
MEASURED = 6 * ["DDDDDDDDDD"] + 4 * ["DDDDDDRRRR"]
"""Ten kinds against ten, the row begins: direct or relayed, in a real laboratory."""


def test_the_oracle_agrees_with_what_was_measured():
    """84 of 100 pairs met."""
    said = [
        "".join("D" if can_be_direct(one, other) else "R" for other in ORDER)
        for one in ORDER
    ]
    assert said == MEASURED
    assert "".join(said).count("D") == 84


@pytest.mark.parametrize(
    ("one", "other"), list(itertools.combinations_with_replacement(NatKind, 2))
)
def test_it_does_not_matter_who_begins(one, other):
    """The technique is of the pair."""
    assert technique(one, other) is technique(other, one)


@pytest.mark.parametrize("other", NatKind)
def test_without_udp_there_is_only_a_relay(other):
    """Whatever the other side is."""
    assert technique(NatKind.BLOCKED, other) is Technique.RELAY


@pytest.mark.parametrize(
    ("one", "other", "needed"),
    [
        ("open", "symmetric", Technique.SEND),
        ("full-cone", "symmetric", Technique.SEND),
        ("address-restricted", "symmetric", Technique.PUNCH),
        ("port-restricted", "port-changing", Technique.PUNCH),
        ("port-restricted", "masquerade", Technique.OPENER),
        ("masquerade", "masquerade", Technique.OPENER),
        ("port-restricted", "symmetric-sequential", Technique.PREDICTION),
        ("port-changing", "symmetric-block", Technique.BLOCK_SEARCH),
        ("masquerade", "symmetric-poisonable", Technique.BIRTHDAY),
        ("symmetric-sequential", "symmetric-sequential", Technique.RELAY),
    ],
)
def test_each_technique_has_its_pairs(one, other, needed):
    """The cheapest that suffices."""
    assert technique(NatKind(one), NatKind(other)) is needed
