"""Packets with all that is known of them, in words and in JSON."""

from meshnode.capture.seen import comment, describe, ends_text, line, protocol_name
from meshnode.codec.tap import UNDERLAY_IN, UNDERLAY_OUT, code_of
from meshnode.errors import DropReason
from tests.inner_packets import ip_packet, udp_packet
from tests.tap_parts import TIME, seen


def test_the_comment_says_who_how_and_what_became_of_it() -> None:
    """As far as it is known."""
    assert comment(seen()) == "peer=paris path=direct 192.0.2.9:51820 verdict=sent"
    relayed = comment(seen(channel=4))
    assert relayed == "peer=paris path=relay 192.0.2.9:51820 verdict=sent"
    lost = seen(peer="", version=0, verdict=code_of(DropReason.NO_ROUTE))
    assert comment(lost) == "verdict=dropped: no peer for destination"
    v6 = seen(version=6, remote=bytes(15) + b"\1")
    assert "path=direct [::1]:51820" in comment(v6)


def test_json_has_what_is_known() -> None:
    """And leaves out the rest."""
    assert describe(seen()) == {
        "at": TIME / 1e9,
        "side": "tunnel-out",
        "length": 45,
        "verdict": "sent",
        "peer": "paris",
        "path": {"kind": "direct", "endpoint": "192.0.2.9:51820"},
        "source": "10.0.0.1",
        "destination": "10.0.0.2",
        "protocol": "tcp",
        "sourcePort": 1000,
        "destinationPort": 2000,
    }
    assert describe(seen(peer="", data=b"?", version=0)) == {
        "at": TIME / 1e9,
        "side": "tunnel-out",
        "length": 1,
        "verdict": "sent",
    }


def test_a_line_has_both_ends() -> None:
    """With brackets where colons would mislead."""
    text = line(seen(), "12:00:00")
    assert text == (
        "12:00:00 tunnel-out tcp 10.0.0.1:1000 > 10.0.0.2:2000 length 45 "
        "peer=paris path=direct 192.0.2.9:51820 verdict=sent"
    )
    v6 = seen(data=udp_packet(6, b"x"))
    assert ends_text(v6.headers).startswith("[fd00::1]:1000 > [fd00::2]")
    assert ends_text(seen(data=ip_packet(4, 89, b"x")).headers) == "10.0.0.1 > 10.0.0.2"
    assert "? no IP packet" in line(seen(data=b""), "now")
    assert protocol_name(89) == "89"


def test_datagrams_of_the_tunnel_get_headers() -> None:
    """From whom to whom; our own port is the node's where no other is named."""
    out = seen(data=b"sealed", side=UNDERLAY_OUT)
    assert out.is_underlay
    assert not out.is_inbound
    assert out.length == 34
    assert ends_text(out.headers) == "192.0.2.1:4000 > 192.0.2.9:51820"
    back = seen(data=b"sealed", side=UNDERLAY_IN, local_port=77)
    assert back.is_inbound
    assert ends_text(back.headers) == "192.0.2.9:51820 > 192.0.2.1:77"
    v6 = seen(data=b"x", side=UNDERLAY_IN, version=6, local=bytes(16))
    assert v6.headers.version == 6
