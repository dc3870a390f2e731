"""The greatest timestamp each of our keys may have used, on disk (paper 5.1).

A responder refuses initiations that are not newer than the last; so what an
earlier run sent must be known even if the clock was set back meanwhile. The mark
belongs to a key pair, not to an interface: `wireguard.timestamps` says how it is
used. One file a key, named after a hash of the public key, replaced atomically.
"""

import logging
import os
from pathlib import Path

from meshnode.codec import tai64n
from meshnode.crypto.keys import PublicKey
from meshnode.crypto.primitives import blake2s
from meshnode.errors import HostError

_DIRECTORY = "timestamps"
_log = logging.getLogger("meshnode.node")


class TimestampMarks:
    """Load and save the marks in *state_dir*; one key is followed at a time."""

    def __init__(self, state_dir: Path) -> None:
        self._directory = state_dir / _DIRECTORY
        self._path: Path | None = None
        self._latest = b""

    def follow(self, public_key: PublicKey | None) -> bytes:
        """Keep marks for this key from now on.

        What was saved for the last key is saved for the new one too: timestamps
        already reserved may be used under it without being reserved again.

        Returns:
            The key's mark if it is beyond all that this object saved, else b"".

        Raises:
            HostError: if a mark cannot be written; the last key is still followed.
        """
        if public_key is None:
            self._path = None
            return b""
        digest = blake2s(public_key.raw).hex()
        path = self._directory / f"{digest[:32]}.mark"
        known = _read(path)
        if self._latest > known:
            _write(path, self._latest)
        self._path = path
        return known if known > self._latest else b""

    def save(self, mark: bytes) -> None:
        """Make *mark* durable for the key that is followed.

        Raises:
            HostError: if it cannot be written.
        """
        self._latest = max(self._latest, mark)
        if self._path is not None:
            _write(self._path, mark)


def _read(path: Path) -> bytes:
    try:
        text = path.read_text("ascii")
        mark = bytes.fromhex(text)
        tai64n.decode(mark)
    except FileNotFoundError:
        return b""
    except (OSError, ValueError) as error:
        # Going on is right: without a mark we depend on the clock, as others do.
        _log.warning("cannot read the timestamp mark %s: %s", path, error)
        return b""
    return mark


def _write(path: Path, mark: bytes) -> None:
    """Replace the file durably: write aside, sync, rename, sync the directory."""
    aside = path.with_suffix(".new")
    try:
        path.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w", encoding="ascii") as file:
            file.write(f"{mark.hex()}\n")
            file.flush()
            os.fsync(fd)
        os.replace(aside, path)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise HostError(
            f"cannot write {path}: {error.strerror}: make room, or set another "
            "--state-dir",
            errno=error.errno or 5,
        ) from error
