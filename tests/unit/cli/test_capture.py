"""`meshnode capture`: its options, and how it ends."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from meshnode.codec.tap import TUNNEL_OUT
from meshnode.manage import api_client
from meshnode.manage.api_client import Borrowed
from tests.inner_packets import tcp_packet
from tests.tap_parts import LentTap
from tests.unit.capture.test_pcapng import blocks

Run = Callable[..., Any]


@pytest.fixture
def lent(node: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[LentTap]:
    """The tap of home; a packet to paris goes by as soon as it is lent."""
    node.answers["capture-names"] = {"names": {"3": "paris"}}
    node.answers["peers"] = {"peers": [{"name": "paris"}]}
    lent = LentTap()

    @contextmanager
    def with_packets(*words: Any, **args: Any) -> Iterator[Borrowed]:
        with lent.borrow(*words, **args) as borrowed:
            for _ in range(3):
                lent.tap.note(TUNNEL_OUT, tcp_packet(4, b"hello"), slot=3)
            lent.tap.publish()
            yield borrowed

    monkeypatch.setattr(api_client, "borrow", with_packets)
    yield lent
    lent.close()


def test_lines_are_printed(meshnode: Run, lent: LentTap) -> None:
    """As many as were asked for, with a summary."""
    result = meshnode("capture", "--count", "2", "tcp", "and", "port", "2000")
    assert result.code == 0
    lines = result.out.splitlines()
    assert len(lines) == 2
    assert lines[0].endswith("length 45 peer=paris verdict=sent")
    assert result.err.splitlines() == [
        "capturing on home; Ctrl-C ends it",
        "2 packets captured, 3 seen, 0 dropped by the capture",
    ]


def test_a_file_is_written(meshnode: Run, lent: LentTap, tmp_path: Path) -> None:
    """Or standard output; an option may name the peer."""
    path = tmp_path / "x.pcapng"
    words = ("--duration", "1s", "--peer", "paris", "tcp or udp")
    assert meshnode("capture", "-w", str(path), *words).code == 0
    kinds = [kind for kind, _ in blocks(path.read_bytes())]
    assert kinds == [0x0A0D0D0A, *[1] * 4, *[6] * 3, *[5] * 4]
    assert meshnode("capture", "-w", "-", *words).code == 0
    assert meshnode("capture", "--duration", "1s", "--json", "udp").out == ""


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (("--ring", "60s"), "add -w FILE"),
        (("--ring", "60s", "-w", "-"), "add -w FILE"),
        (("--json", "-w", "x"), "give --json or -w, not both"),
        (("--duration", "soon"), "'soon' is no span: write 90s"),
        (("--duration", "0s"), "is no span"),
        (("hots", "10.0.0.1"), "'hots' is no test"),
        (("--keylog", "k"), "--keylog needs --underlay and -w FILE"),
        (("--peer", "oslo"), "no member 'oslo'"),
        (("--peer", "a b"), "'b' is not expected here"),
    ],
)
def test_what_makes_no_sense_is_refused(
    meshnode: Run, lent: LentTap, words: tuple[str, ...], fault: str
) -> None:
    """Before anything is written."""
    result = meshnode("capture", *words)
    assert result.code == 2
    assert fault in result.err


def test_keys_need_consent_in_words(
    meshnode: Run, lent: LentTap, tmp_path: Path
) -> None:
    """Without it nothing is asked of the node; with it they stand before packets."""
    path = tmp_path / "x.pcapng"
    words = ("capture", "-w", str(path), "--underlay", "--keylog", "-")
    for answer in (b"yes\n", b"\n"):
        result = meshnode(*words, stdin=answer)
        assert result.code == 2
        assert "no keys were written" in result.err
    assert not path.exists()
    lent.said.append({"keys": "LOCAL = x\n"})
    result = meshnode(*words, "--duration", "1s", stdin=b"write the keys\n")
    assert result.code == 0
    kinds = [kind for kind, _ in blocks(path.read_bytes())]
    assert kinds[5:9] == [10, 6, 6, 6]
    assert lent.asked["keys"] is True
