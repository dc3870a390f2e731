"""The comparison of the ways: its datagram client, and what it writes."""

import socket
import threading

import pytest

from topology.bench.results import Machine, Report, Round, Row
from topology.compare import datagrams, text
from topology.compare.run import Comparison
from topology.compare.ways import Way

TUN = Way("TUN", "1", "nothing", lambda host: None, is_tunnel=True)
SOCKS = Way("SOCKS", "1", "a proxy", lambda host: None, socks=1080)


@pytest.fixture(name="echo")
def _echo():
    """Two sockets of loopback, of which one sends back what the other sends."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as there,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here,
    ):
        there.bind(("127.0.0.1", 0))
        here.settimeout(0.5)
        here.connect(there.getsockname())

        def answer() -> None:
            while True:
                data, source = there.recvfrom(65536)
                if not data:
                    return
                there.sendto(data, source)

        thread = threading.Thread(target=answer)
        thread.start()
        yield here
        here.send(b"")
        thread.join()


def test_datagrams_are_counted_with_what_stands_before_them(echo: socket.socket):
    """Directly nothing does, behind a proxy the target."""
    for head in (b"", datagrams.udp_header(("192.0.2.1", 7))):
        times = datagrams.single(echo, head, 0.05)
        assert times
        assert all(0 < one < 0.5 for one in times)
        rate, lost = datagrams.many(echo, head, 0.05)
        assert rate > 0
        assert lost == 0


def test_nobody_who_answers_is_no_rate():
    """Every datagram is lost then, and it ends."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as there:
        there.bind(("127.0.0.1", 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here:
            here.settimeout(0.05)
            here.connect(there.getsockname())
            assert datagrams.single(here, b"", 0.1) == []
            assert datagrams.many(here, b"", 0.1) == (0.0, 1.0)


def test_the_target_stands_before_a_datagram():
    """RFC 1928, 7."""
    header = datagrams.udp_header(("192.0.2.1", 0x1234))
    assert header == bytes([0, 0, 0, 1, 192, 0, 2, 1, 0x12, 0x34])


def _comparison() -> Comparison:
    machine = Machine("2026-11-29T00:00:00+00:00", "6.1", "x", 2, "3.11", 0.0)
    report = Report(machine, 1, [Row("TUN", "1"), Row("SOCKS", "1")])
    for row, bulk in zip(report.rows, (900.0, 800.0), strict=True):
        row.rounds = [Round({"ways.bulk": bulk}, {"ways.new": [1.0, 2.0, 9.0]})]
    report.rows[0].rounds[0].samples["ways.ping"] = [0.5]
    passes = {"TUN": {"UDP": True, "ICMP": True}, "SOCKS": {"UDP": True, "ICMP": False}}
    return Comparison(report, (TUN, SOCKS), passes)


def test_the_table_has_what_was_measured_and_what_passed():
    """A way that cannot do something has a dash there, and not its name."""
    lines = text.markdown(_comparison()).splitlines()
    assert "| one download, Mbit/s | 900 (900–900) | 800 (800–800) |" in lines
    assert "| ICMP round trip, p50, ms | 0.5 (0.5–0.5) | – |" in lines
    assert "| passes | UDP, ICMP | UDP |" in lines
    assert "| an application is told | nothing | a proxy |" in lines


def test_the_text_names_every_way():
    """And of each what it passes and what it needs."""
    shown = text.table(_comparison())
    assert "  SOCKS               UDP" in shown
    assert "  TUN                 nothing" in shown
