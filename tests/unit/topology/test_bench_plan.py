"""What a benchmark measures: rows and sections, the peak of a row, a hub's peers."""

from collections.abc import Callable
from ipaddress import IPv4Address

import pytest

from topology.bench import overload
from topology.bench.hub import MOST_PEERS, address, hub_config, pss
from topology.bench.plan import SET_UP, Plan
from topology.bench.rows import ROWS
from topology.bench.sections import JOINED, LONE, SECTIONS, SLOW, Settings
from topology.iperf import Datagrams

SETTINGS = Settings(seconds=3, peers=(10, 100, 1000))
USUAL = tuple(name for name in SECTIONS if name not in SLOW)


def _plan(*sections: str, rows: tuple[str, ...] = (), rounds: int = 5) -> Plan:
    return Plan(sections, rows, rounds, SETTINGS)


def test_section_has_its_own_rows_unless_others_are_asked_for() -> None:
    """What is asked for takes the place of a section's own rows."""
    assert _plan("tcp").rows_of("tcp") == ROWS
    assert _plan("overload").rows_of("overload") == ("fast", "wireguard-go")
    assert _plan("overload", rows=("tinc",)).rows_of("overload") == ("tinc",)


def test_only_wireguard_programs_answer_handshakes() -> None:
    """Other rows are left out where they could do nothing."""
    assert _plan("hub", rows=("tinc", "fast")).rows_of("hub") == ("fast",)
    assert _plan("handshakes", rows=("veth",)).rows_of("handshakes") == ()


def test_rows_of_several_sections_are_in_the_usual_order() -> None:
    """Each row is set up once, whichever section wants it."""
    plan = _plan("hub", "sizes")
    assert plan.rows_of_any(plan.sections) == [
        name
        for name in ROWS
        if name in ("fast", "reference", "veth", "wireguard-go", "tinc", "nebula")
    ]
    assert (plan.joined, plan.lone) == (["sizes"], ["hub"])


def test_estimate_grows_with_rounds_but_setting_up() -> None:
    """Tunnels are set up once for all rounds; a hub is made anew each time."""
    one, two = _plan("tcp", rounds=1).estimate, _plan("tcp", rounds=2).estimate
    assert two - one == one - SET_UP * len(ROWS)
    assert _plan("hub", rounds=2).estimate == 2 * _plan("hub", rounds=1).estimate


def test_usual_run_is_planned_for_less_than_25_minutes() -> None:
    """What runs without any option must not take half an hour."""
    assert _plan(*USUAL).estimate < 25 * 60


def test_every_row_of_a_section_is_one() -> None:
    """No section names a tunnel that nobody can make."""
    for section in (*JOINED.values(), *LONE.values()):
        assert set(section.rows) <= set(ROWS)


def _collapsing(peak: float) -> Callable[[float], Datagrams]:
    """A tunnel that loses ever more above its peak, fed by a sender with a limit."""

    def send(rate: float) -> Datagrams:
        offered = min(rate or 1e6, 1e6)
        return Datagrams(offered, min(offered, peak * peak / offered), payload=1200)

    return send


@pytest.mark.parametrize("peak", [1_000.0, 7_000.0, 90_000.0, 300_000.0])
def test_peak_is_found_within_the_steps_of_the_search(peak: float) -> None:
    """Above the peak less is received: doubling finds it to a factor of two."""
    found = overload.find_peak(_collapsing(peak))
    assert found <= peak
    assert found >= min(peak / 2, peak * peak / 5_000)


def test_search_ends_where_only_the_sender_is_the_limit() -> None:
    """A tunnel that takes all is loaded with what can be sent, not forever."""
    assert overload.find_peak(_collapsing(1e9)) == 1e6


def test_curve_is_around_the_peak_and_ends_without_a_limit() -> None:
    """Below the peak all is received, above ever less."""
    figures = overload.curve(_collapsing(1_000.0), 1_000.0).figures
    assert figures["overload.received.0.25"] == figures["overload.offered.0.25"] == 250
    assert figures["overload.offered.4"] == 4_000
    assert figures["overload.received.4"] == 250
    assert figures["overload.offered.max"] == 1e6
    assert len(figures) == 2 * (len(overload.FACTORS) + 1)


def test_hub_has_its_peers_at_addresses_of_their_own() -> None:
    """The configuration is what `wg setconf` reads; all addresses fit the prefix."""
    text = hub_config("private", ["first", "second"])
    assert text.splitlines() == [
        "[Interface]",
        "PrivateKey = private",
        "ListenPort = 51820",
        "[Peer]",
        "PublicKey = first",
        "AllowedIPs = 10.99.0.2/32",
        "[Peer]",
        "PublicKey = second",
        "AllowedIPs = 10.99.0.3/32",
    ]
    assert address(MOST_PEERS) < IPv4Address("10.99.255.255")


def test_memory_is_the_proportional_set_size() -> None:
    """Of the kernel's summary it is the line Pss, in kB."""
    rollup = "55d0-7ffe ---p 0 [rollup]\nRss: 9000 kB\nPss:   1234 kB\nPss_Anon: 1 kB\n"
    assert pss(rollup) == 1234 * 1024
    # A process that has just ended has an empty one.
    assert pss("") == 0
