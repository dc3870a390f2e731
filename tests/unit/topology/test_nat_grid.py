"""What a ping says of a pair."""

import pytest

from topology.nat_grid import read_answers

OUTPUT = """\
PING 10.77.0.5 (10.77.0.5) 56(84) bytes of data.
[1700000000.350000] 64 bytes from 10.77.0.5: icmp_seq=2 ttl=64 time=150 ms
[1700000000.352000] 64 bytes from 10.77.0.5: icmp_seq=3 ttl=64 time=52.5 ms
[1700000000.441000] 64 bytes from 10.77.0.5: icmp_seq=4 ttl=64 time=41.2 ms

--- 10.77.0.5 ping statistics ---
4 packets transmitted, 3 received, 25% packet loss, time 300ms
rtt min/avg/max/mdev = 41.2/81.2/150.0/0.2 ms
"""


def test_the_first_answer_counts_from_the_first_packet():
    """Though that one was lost: it left one interval before the second."""
    answers = read_answers(OUTPUT)
    assert answers is not None
    assert answers.began_at == pytest.approx(1700000000.1)
    assert answers.answered == pytest.approx(0.25)
    assert answers.round_trip == pytest.approx(0.0412)


def test_without_an_answer_there_is_nothing():
    """Not even a beginning."""
    assert read_answers("PING 10.77.0.5 (10.77.0.5) 56(84) bytes of data.\n") is None
