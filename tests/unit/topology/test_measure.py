"""Round trips as ping tells them."""

from topology.measure import RoundTrips, ping_times

OUTPUT = """\
PING 10.99.0.2 (10.99.0.2) 56(84) bytes of data.
64 bytes from 10.99.0.2: icmp_seq=1 ttl=64 time=0.612 ms
64 bytes from 10.99.0.2: icmp_seq=2 ttl=64 time=12 ms
64 bytes from 10.99.0.2: icmp_seq=2 ttl=64 time=99.0 ms (DUP!)
64 bytes from 10.99.0.2: icmp_seq=4 ttl=64 time=0.041 ms

--- 10.99.0.2 ping statistics ---
4 packets transmitted, 3 received, +1 duplicates, 25% packet loss, time 30ms
rtt min/avg/max/mdev = 0.041/4.217/12.000/5.506 ms
"""


def test_times_are_in_rising_order_and_answers_counted_once() -> None:
    """Duplicates, headers and sums are no answers."""
    assert ping_times(OUTPUT) == (0.041, 0.612, 12.0)
    assert ping_times("") == ()


def test_loss_is_the_share_without_an_answer() -> None:
    """Three of four came back."""
    assert RoundTrips((0.041, 0.612, 12.0), sent=4).loss == 0.25
