"""Where `meshnode capture` puts packets: lines, a pcapng file, or memory first."""

import os
import stat
import sys
import time
from contextlib import suppress
from datetime import datetime
from typing import Protocol, Self

import click

from meshnode import __version__
from meshnode.capture import pcapng
from meshnode.capture.recorder import LastSeconds, Recorder
from meshnode.capture.seen import Seen, describe, line
from meshnode.cli.output import to_json
from meshnode.errors import HostError

_APPLICATION = f"meshnode {__version__}"
_STDOUT = 1

_GRACE = 0.02
"""Seconds that keys may come later than the packets which they open."""


class Sink(Protocol):
    """Takes what is captured; a block around it ends it well."""

    def put(self, packets: list[Seen]) -> None:
        """Take *packets* now; raises BrokenPipeError if nobody reads any more."""

    def keys(self, text: str) -> None:
        """Take keys, before the packets that they open."""

    def lost(self, inbound: int, outbound: int) -> None:
        """Note so many that were lost on their way to us."""

    def save(self) -> None:
        """Write down what is only kept, if anything is."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


def open_sink(
    file: str | None,
    snaplen: int,
    *,
    ring: float | None,
    keylog: str | None,
    as_json: bool,
) -> Sink:
    """Return where packets go: lines without a *file*, else pcapng.

    Raises:
        HostError: if a file cannot be written.
    """
    if file is None:
        return LineSink(as_json=as_json)
    if keylog is not None:
        return KeyedSink(file, snaplen, keylog)
    return FileSink(file, snaplen) if ring is None else LastSink(file, snaplen, ring)


class LineSink:
    """Prints a line a packet: text with the local time, or JSON."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def put(self, packets: list[Seen]) -> None:
        """Print *packets*."""
        text = "".join([f"{self._line(seen)}\n" for seen in packets])
        if text:
            sys.stdout.write(text)
            sys.stdout.flush()

    def _line(self, seen: Seen) -> str:
        if self._as_json:
            return to_json(describe(seen))
        moment = datetime.fromtimestamp(seen.time_ns // 10**9)
        clock = f"{moment:%H:%M:%S}.{seen.time_ns // 1000 % 10**6:06}"
        return line(seen, clock)

    def keys(self, text: str) -> None:
        """Ignore them: none were asked for."""

    def lost(self, inbound: int, outbound: int) -> None:
        """Say nothing: the summary does."""

    def save(self) -> None:
        """Nothing is only kept."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class FileSink:
    """Writes pcapng as packets come; "-" is standard output."""

    def __init__(self, path: str, snaplen: int) -> None:
        self._recorder = Recorder(_APPLICATION, snaplen=snaplen, now_ns=time.time_ns())
        self._descriptor = _STDOUT if path == "-" else _open(path)
        self._is_ours = path != "-"

    def put(self, packets: list[Seen]) -> None:
        """Write *packets*, at once."""
        _write(self._descriptor, b"".join(map(self._recorder.packet, packets)))

    def keys(self, text: str) -> None:
        """Ignore them: none were asked for."""

    def lost(self, inbound: int, outbound: int) -> None:
        """Tell of it in the file."""
        self._recorder.lost(inbound=inbound, outbound=outbound)

    def save(self) -> None:
        """Nothing is only kept."""

    def __enter__(self) -> Self:
        _write(self._descriptor, self._recorder.begin())
        return self

    def __exit__(self, *_: object) -> None:
        try:
            _write(self._descriptor, self._recorder.end(time.time_ns()))
        except BrokenPipeError:
            pass  # the reader has seen enough
        finally:
            if self._is_ours:
                os.close(self._descriptor)


class KeyedSink(FileSink):
    """As `FileSink`, and writes keys to a file of their own; "-": into the capture."""

    def __init__(self, path: str, snaplen: int, key_path: str) -> None:
        super().__init__(path, snaplen)
        self._held: list[Seen] = []
        self._is_apart = key_path != "-"
        self._key_descriptor = _open(key_path) if self._is_apart else self._descriptor

    def put(self, packets: list[Seen]) -> None:
        """Write *packets* at the next call: their keys may be under way."""
        held, self._held = self._held, packets
        super().put(held)
        if packets:
            time.sleep(_GRACE)

    def keys(self, text: str) -> None:
        """Write them at once."""
        if not text:
            return
        data = text.encode()
        if not self._is_apart:
            data = pcapng.secrets(pcapng.WIREGUARD_KEY_LOG, data)
        _write(self._key_descriptor, data)

    def __exit__(self, *_: object) -> None:
        with suppress(BrokenPipeError):
            self.put([])
        super().__exit__()
        if self._is_apart:
            os.close(self._key_descriptor)


class LastSink:
    """Keeps the last packets in memory, and writes them when it is asked to."""

    def __init__(self, path: str, snaplen: int, seconds: float) -> None:
        self._path = path
        self._snaplen = snaplen
        self._started_ns = time.time_ns()
        self._last = LastSeconds(seconds)
        self._lost = [0, 0]
        # What cannot be written is found out now, and not after the fault.
        os.close(_open(path))

    def put(self, packets: list[Seen]) -> None:
        """Keep *packets*."""
        self._last.add(packets)
        self._last.forget(time.time_ns())

    def keys(self, text: str) -> None:
        """Ignore them: none were asked for."""

    def lost(self, inbound: int, outbound: int) -> None:
        """Count it for the file."""
        self._lost[0] += inbound
        self._lost[1] += outbound

    def save(self) -> None:
        """Write a whole file with what is kept."""
        now = time.time_ns()
        self._last.forget(now)
        recorder = Recorder(
            _APPLICATION, snaplen=self._snaplen, now_ns=self._started_ns
        )
        recorder.lost(inbound=self._lost[0], outbound=self._lost[1])
        descriptor = _open(self._path)
        try:
            _write(descriptor, recorder.begin())
            for seen in self._last.packets():
                _write(descriptor, recorder.packet(seen))
            _write(descriptor, recorder.end(now))
        finally:
            os.close(descriptor)
        click.echo(f"{len(self._last)} packets written to {self._path}", err=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.save()


def _open(path: str) -> int:
    """Open a file to write, for its owner's eyes only."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    except OSError as error:
        raise HostError(
            f"{path}: {error.strerror}; choose another file", errno=error.errno or 5
        ) from None
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode):
        if status.st_uid != os.geteuid():
            os.close(descriptor)
            raise HostError(f"{path}: belongs to somebody else; choose another file")
        os.fchmod(descriptor, 0o600)
        os.ftruncate(descriptor, 0)
    return descriptor


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except BrokenPipeError:
        raise
    except OSError as error:
        raise HostError(
            f"the capture cannot be written: {error.strerror}", errno=error.errno or 5
        ) from None
