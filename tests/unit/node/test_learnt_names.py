"""What names that rules speak of were last seen to mean."""

import pytest

from meshnode.node import learnt_names
from meshnode.node.learnt_names import LEAST_LIFE, LONGEST_LIFE, LearntNames
from meshnode.steering import SteerRule, ViaMesh

RULES = [
    SteerRule(ViaMesh(), domains=("example.org",)),
    SteerRule(ViaMesh()),
    SteerRule(ViaMesh(), domains=("example.net", "example.org")),
]


def test_an_answer_is_told_to_every_rule_above_its_name() -> None:
    """Once, and again when half of its time is over."""
    names = LearntNames()
    fresh = names.learn(RULES, "www.example.org", ["192.0.2.1"], 30, now=0)
    assert fresh == {(0, "192.0.2.1"): LEAST_LIFE, (2, "192.0.2.1"): LEAST_LIFE}
    again = names.learn(RULES, "WWW.example.org.", ["192.0.2.1"], 30, now=100)
    assert again == {}
    half = LEAST_LIFE / 2
    later = names.learn(RULES, "www.example.org", ["192.0.2.1"], 30, now=half)
    assert later == fresh
    assert names.learn(RULES, "example.com", ["192.0.2.9"], 30, now=0) == {}


def test_what_is_known_grows_old() -> None:
    """And belongs to whatever rules there are by then."""
    names = LearntNames()
    names.learn(RULES, "example.org", ["192.0.2.1", "2001:db8::1"], 10**9, now=0)
    names.learn(RULES, "a.example.net", ["192.0.2.1"], 0, now=0)
    known = names.known(RULES[2:], now=10)
    assert known == {(0, "192.0.2.1"): LONGEST_LIFE - 10, (0, "2001:db8::1"): 86390}
    assert names.names_of("192.0.2.1", now=10) == ["a.example.net", "example.org"]
    assert names.names_of("192.0.2.1", now=LEAST_LIFE) == ["example.org"]
    assert names.known(RULES, now=LONGEST_LIFE) == {}


def test_what_was_learnt_before_is_known_on() -> None:
    """For as long as it was to be."""
    names = LearntNames()
    names.adopt("example.org", "192.0.2.1", 50, now=100)
    assert names.known(RULES[:2], now=110) == {(0, "192.0.2.1"): 40}
    assert names.known(RULES, now=150) == {}


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would be forgotten first makes room."""
    monkeypatch.setattr(learnt_names, "MAX_ADDRESSES", 10)
    names = LearntNames()
    for number in range(11):
        address = f"192.0.2.{number}"
        names.learn(RULES, "example.org", [address], 10_000, now=number)
    known = {address for _, address in names.known(RULES, now=11)}
    assert known == {f"192.0.2.{number}" for number in range(2, 11)}
