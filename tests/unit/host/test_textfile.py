"""Small files of the host: every byte comes back, and links stay links."""

import errno
import os
from pathlib import Path

import pytest

from meshnode.errors import HostError
from meshnode.host import textfile


def test_every_byte_comes_back(tmp_path: Path) -> None:
    """Whatever the encoding is."""
    path = tmp_path / "file"
    data = bytes(range(256)) * 3
    path.write_bytes(data)
    text = textfile.read(str(path))
    assert text is not None
    textfile.write(str(path), text)
    assert path.read_bytes() == data


def test_links_and_modes_stay(tmp_path: Path) -> None:
    """The file behind a link is written; what is made anyone may read."""
    path, link = tmp_path / "file", tmp_path / "link"
    link.symlink_to(path)
    umask = os.umask(0o077)
    textfile.write(str(link), "one\n")
    os.umask(umask)
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o644
    path.chmod(0o640)
    textfile.write(str(link), "2\n")
    assert path.read_text() == "2\n"
    assert path.stat().st_mode & 0o777 == 0o640


def test_missing_file(tmp_path: Path) -> None:
    """None is read, and removing it is no error."""
    path = str(tmp_path / "no" / "file")
    assert textfile.read(path) is None
    textfile.remove(path)
    with pytest.raises(HostError, match="cannot write"):
        textfile.write(path, "")


def test_what_cannot_be_is_told(tmp_path: Path) -> None:
    """A directory, and a file that is far too long."""
    with pytest.raises(HostError, match="cannot read"):
        textfile.read(str(tmp_path))
    with pytest.raises(HostError, match="cannot remove"):
        textfile.remove(str(tmp_path))
    (tmp_path / "long").write_bytes(bytes(textfile.MAX_BYTES + 1))
    with pytest.raises(HostError, match="longer") as caught:
        textfile.read(str(tmp_path / "long"))
    assert caught.value.errno == errno.EFBIG
