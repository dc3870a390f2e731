"""Where packets go: lines, files, memory."""

import json
import os
import stat
from pathlib import Path

import pytest

from meshnode.cli.capture_sinks import FileSink, KeyedSink, LastSink, LineSink
from meshnode.errors import HostError
from tests.tap_parts import seen
from tests.unit.capture.test_pcapng import blocks


def kinds(path: Path) -> list[int]:
    """Return the types of the blocks of a file, but for its beginning and end."""
    return [kind for kind, _ in blocks(path.read_bytes()) if kind in (6, 10)]


def test_lines_have_the_time_of_day(capsys: pytest.CaptureFixture[str]) -> None:
    """Or are JSON."""
    with LineSink(as_json=False) as sink:
        sink.keys("")
        sink.lost(1, 1)
        sink.put([])
        sink.put([seen()])
        sink.save()
    assert ".123456 tunnel-out tcp" in capsys.readouterr().out
    with LineSink(as_json=True) as sink:
        sink.put([seen(), seen()])
    lines = [json.loads(one) for one in capsys.readouterr().out.splitlines()]
    assert [one["schema"] for one in lines] == [1, 1]


def test_a_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Even if it was there before, with other rights."""
    path = tmp_path / "x"
    path.write_bytes(b"old" * 1000)
    path.chmod(0o644)
    with FileSink(str(path), 65535) as sink:
        sink.keys("ignored")
        sink.put([seen()])
        sink.lost(1, 2)
        sink.save()
        assert kinds(path) == [6]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_belongs_to_others_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its owner would read what we write."""
    path = tmp_path / "x"
    path.write_bytes(b"theirs")
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(HostError, match="belongs to somebody else"):
        FileSink(str(path), 65535)
    assert path.read_bytes() == b"theirs"


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """Before anything is captured, or when the disk is full."""
    with pytest.raises(HostError, match="choose another file"):
        LastSink(str(tmp_path / "no" / "such"), 65535, 60.0)
    with (
        pytest.raises(HostError, match="the capture cannot be written"),
        FileSink("/dev/full", 65535),
    ):
        pass


def test_a_reader_that_has_gone_is_told_once(tmp_path: Path) -> None:
    """The end of the block is silent."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    sink = FileSink(str(path), 65535)
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        sink.put([seen()])
    sink.__exit__()


def test_keys_stand_before_their_packets(tmp_path: Path) -> None:
    """In a file of their own, or in the capture; packets wait one turn for them."""
    path, keys = tmp_path / "x", tmp_path / "keys"
    with KeyedSink(str(path), 65535, str(keys)) as sink:
        sink.put([seen()])
        assert kinds(path) == []
        sink.keys("A\n")
        sink.keys("")
        sink.put([seen(), seen()])
        assert kinds(path) == [6]
    assert kinds(path) == [6] * 3
    assert keys.read_text() == "A\n"
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600
    with KeyedSink(str(path), 65535, "-") as sink:
        sink.put([seen()])
        sink.keys("A\n")
    assert kinds(path) == [10, 6]


def test_the_last_packets_are_written_when_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each time a whole file; those that are too old are gone."""
    path = tmp_path / "x"
    now = 10**9 * int(2e9)
    with LastSink(str(path), 65535, 60.0) as sink:
        sink.keys("ignored")
        sink.put([seen(), seen(time_ns=now)])
        sink.lost(3, 4)
        sink.save()
        assert kinds(path) == [6]
        sink.put([seen(time_ns=now)])
    assert kinds(path) == [6, 6]
    assert f"2 packets written to {path}" in capsys.readouterr().err
