"""Small configuration files of the host that are not ours alone, such as resolv.conf.

They are written in place: a symbolic link goes on leading where it did, and a file
that a container has mounted there cannot be replaced at all. Text is Latin-1, so that
every byte comes back as it was.
"""

import errno
import os

from meshnode.errors import HostError

MAX_BYTES = 65536
_ENCODING = "latin-1"


def read(path: str) -> str | None:
    """Return what *path* holds, None if it is missing.

    Raises:
        HostError: if it cannot be read, or is longer than `MAX_BYTES`.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _explain("read", path, error) from error
    if len(data) > MAX_BYTES:
        raise HostError(f"{path} is longer than {MAX_BYTES} bytes", errno=errno.EFBIG)
    return data.decode(_ENCODING)


def write(path: str, text: str) -> None:
    """Let *path* hold *text*; it is made, for all to read, if it is missing.

    Whoever is killed meanwhile leaves it with what it held, empty, or with *text*.

    Raises:
        HostError: if it cannot be written.
    """
    try:
        is_new = not os.path.exists(path)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            if is_new:
                os.fchmod(fd, 0o644)  # whatever our umask is
            rest = memoryview(text.encode(_ENCODING))
            while rest:
                rest = rest[os.write(fd, rest) :]
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as error:
        raise _explain("write", path, error) from error


def remove(path: str) -> None:
    """Remove *path*, if it is there; raises `HostError` if it cannot be."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _explain("remove", path, error) from error


def _explain(action: str, path: str, error: OSError) -> HostError:
    number = error.errno or errno.EIO
    return HostError(f"cannot {action} {path}: {os.strerror(number)}", errno=number)
