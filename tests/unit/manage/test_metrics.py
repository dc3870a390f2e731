"""The metrics of a node, read back by a strict parser of the text format."""

import math
import re
from typing import Any

import pytest

from meshnode.manage.metrics import Family, Sample, expose, node_metrics

STATUS: dict[str, Any] = {
    "network": "home",
    "name": "founder",
    "key": "AAAA",
    "interface": "wg0",
    "engine": "reference",
    "isReady": True,
    "members": 3,
    "silent": 0,
    "sessions": 2,
    "receivedBytes": 2**60,
    "sentBytes": 7,
    "charter": 1,
    "policy": 0,
    "mtu": 1420,
    "certificate": {"notAfter": 1_800_000_000},
    "health": ["a", "b"],
    "drops": {"bad length": 4, 'odd "\\\n reason': 1},
    "offload": {"tun-tcp": {"state": "reads", "lowered": 1}, "tun-udp": {"lowered": 0}},
}
PEERS: list[dict[str, Any]] = [
    {
        "name": "laptop",
        "key": "BBBB",
        "ipv4": "10.77.0.2",
        "ipv6": "fd00::2",
        "endpoint": "[2001:db8::1]:51820",
        "hasSession": True,
        "isSilent": False,
        "receivedBytes": 5,
        "sentBytes": 6,
        "lastHandshake": 1_700_000_000,
        "notAfter": 1_800_000_001,
    },
    {"name": "phone", "key": "CCCC", "endpoint": None, "hasSession": False},
]

LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"'
LINE = re.compile(
    rf"([a-zA-Z_:][a-zA-Z0-9_:]*)\{{((?:{LABEL})(?:,{LABEL})*)?\}} "
    r"([+-]?(?:[0-9.]+(?:e[+-]?[0-9]+)?|Inf)|NaN)"
)
UNESCAPED = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parse(text: str) -> tuple[dict[str, str], Samples]:
    """The types and samples in *text*; fails for whatever the format forbids."""
    types: dict[str, str] = {}
    helped: set[str] = set()
    samples: Samples = {}
    current = ""
    assert text == "" or text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name = line.split(" ")[2]
            assert name not in helped
            helped.add(name)
        elif line.startswith("# TYPE "):
            _, _, current, kind = line.split(" ")
            assert current not in types
            assert current in helped
            types[current] = kind
        else:
            found = LINE.fullmatch(line)
            assert found, line
            assert found[1] == current
            labels = {
                name: re.sub(r'\\[\\"n]', lambda m: UNESCAPED[m[0]], value)
                for name, value in re.findall(LABEL, found[2] or "")
            }
            place = (found[1], frozenset(labels.items()))
            assert place not in samples
            samples[place] = float(found[found.lastindex or 0])
    assert set(types) == helped
    return types, samples


def value(samples: Samples, name: str, /, **labels: str) -> float:
    """The sample with exactly these labels."""
    return samples[(f"meshnode_{name}", frozenset(labels.items()))]


def test_a_status_becomes_metrics() -> None:
    """Every number of it, by its name."""
    types, samples = parse(node_metrics(STATUS, PEERS))
    home = {"network": "home"}
    assert value(samples, "ready", **home) == 1
    assert value(samples, "members", **home) == 3
    assert value(samples, "received_bytes_total", **home) == 2**60
    assert value(samples, "health_problems", **home) == 2
    end = "certificate_end_timestamp_seconds"
    assert value(samples, end, **home) == 1_800_000_000
    info = {"name": "founder", "interface": "wg0", "engine": "reference", "key": "AAAA"}
    assert value(samples, "info", **home, **info) == 1
    assert value(samples, "offload_lowered_total", **home, offload="tun-tcp") == 1
    drops = "dropped_packets_total"
    assert value(samples, drops, **home, reason="bad length") == 4
    assert value(samples, drops, **home, reason='odd "\\\n reason') == 1
    counters = {name for name, kind in types.items() if kind == "counter"}
    assert counters == {name for name in types if name.endswith("_total")}


def test_peers_have_their_names() -> None:
    """And what one does not have is left out for it alone."""
    _, samples = parse(node_metrics(STATUS, PEERS))
    laptop = {"network": "home", "peer": "laptop", "key": "BBBB"}
    phone = {"network": "home", "peer": "phone", "key": "CCCC"}
    assert value(samples, "peer_has_session", **laptop) == 1
    assert value(samples, "peer_has_session", **phone) == 0
    assert value(samples, "peer_sent_bytes_total", **laptop) == 6
    last = "peer_last_handshake_timestamp_seconds"
    assert value(samples, last, **laptop) == 1_700_000_000
    with pytest.raises(KeyError):
        value(samples, last, **phone)
    where = {"ipv4": "10.77.0.2", "ipv6": "fd00::2", "endpoint": "[2001:db8::1]:51820"}
    assert value(samples, "peer_info", **laptop, **where) == 1
    assert value(samples, "peer_info", **phone) == 1


@pytest.mark.parametrize(
    "status",
    [
        {},
        {"members": "three", "drops": 5, "health": None, "certificate": 1},
        {"certificate": {}, "drops": {"x": "y"}, "isReady": None},
        {"offload": {"x": 1, "y": {"lowered": "z"}}},
    ],
)
def test_what_a_status_does_not_have_is_left_out(status: dict[str, Any]) -> None:
    """A status of another version is no error."""
    types, samples = parse(node_metrics(status, []))
    assert set(types) == {"meshnode_info"}
    assert len(samples) == 1


def test_numbers_are_written_exactly() -> None:
    """Whole, broken, and those that are none."""
    values = [0, -1, 2**63, 0.1, 1e-9, math.inf, -math.inf, True]
    family = Family(
        "a", "gauge", "b", tuple(Sample(v, {"n": str(n)}) for n, v in enumerate(values))
    )
    _, samples = parse(expose([family]))
    assert list(samples.values()) == [float(value) for value in values]
    _, samples = parse(expose([Family("a", "gauge", "", (Sample(math.nan, {}),))]))
    assert math.isnan(next(iter(samples.values())))


def test_help_is_one_line() -> None:
    """Whatever is in it."""
    text = expose([Family("a", "gauge", "b\nc\\d", (Sample(1, {}),))])
    assert text.splitlines()[0] == "# HELP a b\\nc\\\\d"
    assert len(text.splitlines()) == 3


@pytest.mark.parametrize(
    "families",
    [
        [Family("a b", "gauge", "", ())],
        [Family("1a", "gauge", "", ())],
        [Family("", "gauge", "", ())],
        [Family("a", "histogram", "", ())],
        [Family("a", "gauge", "", ()), Family("a", "counter", "", ())],
        [Family("a", "gauge", "", (Sample(1, {"b c": ""}),))],
        [Family("a", "gauge", "", (Sample(1, {"__b": ""}),))],
        [Family("a", "gauge", "", (Sample(1, {"a\n": ""}),))],
    ],
)
def test_what_is_no_metric_is_refused(families: list[Family]) -> None:
    """Names are ours; a bad one is a fault of ours."""
    with pytest.raises(ValueError, match=r"is no|twice"):
        expose(families)


def test_nothing_is_empty() -> None:
    """A family without samples has no lines."""
    assert expose([]) == ""
    assert expose([Family("a", "gauge", "b", ())]) == ""
