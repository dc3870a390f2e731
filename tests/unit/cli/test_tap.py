"""The tap of a node as commands read it: names, filters, losses."""

from collections.abc import Iterator
from typing import Any

import pytest

from meshnode.capture.filters import parse_filter
from meshnode.cli import tap as tap_module
from meshnode.cli.tap import open_tap
from meshnode.codec.tap import DROPPED, TUNNEL_OUT
from meshnode.errors import MeshnodeError, UsageError
from meshnode.manage import api_client
from meshnode.manage.api_client import NotRunningError
from meshnode.manage.paths import Directories
from tests.inner_packets import tcp_packet, udp_packet
from tests.tap_parts import LentTap, words_of


@pytest.fixture
def lent(node: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[LentTap]:
    """The tap of home, in which slot 3 is paris."""
    node.answers["capture-names"] = {"names": {"3": "paris"}}
    node.answers["peers"] = {"peers": [{"name": "paris"}, {"name": "rome"}]}
    lent = LentTap()
    monkeypatch.setattr(api_client, "borrow", lent.borrow)
    yield lent
    lent.close()


def opened(directories: Directories, text: str = "") -> Any:
    """Open the tap of home with a filter."""
    wanted = parse_filter(text)
    return open_tap(directories, "home", wanted=wanted, underlay=True, snaplen=99)


def test_packets_pass_the_filter_with_their_names(
    directories: Directories, lent: LentTap
) -> None:
    """Who is nobody of ours has none; all that were looked at are counted."""
    with opened(directories, "tcp") as tap:
        lent.tap.note(TUNNEL_OUT, tcp_packet(4, b"a"), slot=3)
        lent.tap.note(TUNNEL_OUT, udp_packet(4, b"b"), slot=3)
        lent.tap.note(TUNNEL_OUT, tcp_packet(4, b"c"), slot=-1)
        lent.tap.publish()
        assert [one.peer for one in tap.read()] == ["paris", ""]
        assert tap.read() == []
        assert tap.seen == 3
    assert lent.asked["underlay"] is True
    assert lent.asked["snaplen"] == 99
    assert lent.asked["keys"] is False


def test_names_are_asked_for_now_and_then(
    directories: Directories, lent: LentTap, node: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown slot soon, a known one later; a node that is busy is asked again."""
    clock = [100.0]
    monkeypatch.setattr(tap_module.time, "monotonic", lambda: clock[0])
    with opened(directories) as tap:

        def name_of(slot: int) -> str:
            lent.tap.note(TUNNEL_OUT, tcp_packet(4, b"a"), slot=slot)
            lent.tap.publish()
            [found] = tap.read()
            return str(found.peer)

        assert name_of(3) == "paris"
        node.answers["capture-names"] = {"names": {"3": "rome", "4": "oslo"}}
        assert name_of(4) == ""
        clock[0] += 1.0
        assert name_of(4) == "oslo"
        node.answers["capture-names"] = {"names": {"4": "bern"}}
        clock[0] += 1.0
        assert name_of(4) == "oslo"
        clock[0] += 2.0
        assert name_of(4) == "bern"
        node.answers.pop("capture-names")
        clock[0] += 9.0
        assert name_of(4) == "bern"


def test_losses_add_up(directories: Directories, lent: LentTap) -> None:
    """By direction."""
    with opened(directories) as tap:
        words_of(lent.memory, 0)[DROPPED] = 2
        words_of(lent.memory, 1)[DROPPED] = 3
        assert tap.losses() == (2, 3)
        assert tap.losses() == (0, 0)
        assert tap.lost == 5


def test_keys_are_lines_and_the_end_is_told(
    directories: Directories, lent: LentTap
) -> None:
    """By the connection that lends the tap."""
    with opened(directories) as tap:
        lent.said += [{"keys": "A = 1\n"}, {"keys": "B = 2\n"}]
        assert tap.keys() == "A = 1\nB = 2\n"
        lent.said.append(NotRunningError("ended"))
        with pytest.raises(NotRunningError):
            tap.keys()


def test_a_node_of_another_version_is_told(
    directories: Directories, lent: LentTap
) -> None:
    """Its memory is not read."""
    lent.layout += 1
    with pytest.raises(MeshnodeError, match="restart home"), opened(directories):
        pass


def test_a_peer_of_the_filter_must_exist(
    directories: Directories, lent: LentTap
) -> None:
    """As a member, or as who has a slot."""
    with opened(directories, "peer rome or peer paris"):
        pass
    with (
        pytest.raises(UsageError, match="no member 'oslo'; see: meshnode peers"),
        opened(directories, "peer oslo"),
    ):
        pass
