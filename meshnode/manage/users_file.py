"""Files of users and hashes of their passwords: `NAME:HASH` a line, for us alone.

Empty lines and those that begin with `#` are left out. The hashes are argon2id in the
usual text form, which `meshnode proxy user NAME` makes.
"""

import os
import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from meshnode.crypto.passwords import SALT_SIZE, PasswordHash
from meshnode.errors import ConfigError

MAX_USERS: Final = 1000
MAX_BYTES: Final = 2**20
MAX_PASSWORD: Final = 255

_NAME: Final = re.compile(r"[!-9;-~]{1,64}")


def check_user(name: str) -> str:
    """Return *name*; raises `ConfigError` if no user can be called so."""
    if not _NAME.fullmatch(name) or name.startswith("#"):
        raise ConfigError(
            f"{name!r} is no user name: write 1 to 64 printable ASCII characters "
            "without space or colon"
        )
    return name


def parse_users(data: bytes, source: str) -> dict[str, PasswordHash]:
    """Return the users in *data*, the content of the file called *source*.

    Raises:
        ConfigError: naming the line; it repeats no hash.
    """
    users: dict[str, PasswordHash] = {}
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{source}: is longer than {MAX_BYTES} bytes")
    for number, line in enumerate(data.split(b"\n"), 1):
        try:
            text = line.decode("ascii").strip()
            if not text or text.startswith("#"):
                continue
            name, colon, known = text.partition(":")
            if not colon:
                raise ConfigError("is not NAME:HASH")
            if check_user(name) in users:
                raise ConfigError(f"{name} is there twice; leave one")
            users[name] = PasswordHash.parse(known)
        except UnicodeDecodeError:
            raise ConfigError(f"{source}: line {number}: is not ASCII") from None
        except ConfigError as error:
            raise ConfigError(f"{source}: line {number}: {error}") from None
    if len(users) > MAX_USERS:
        raise ConfigError(f"{source}: has more than {MAX_USERS} users")
    return users


def make_hash(
    password: bytes, *, entropy: Callable[[int], bytes] = os.urandom
) -> PasswordHash:
    """Return the hash of *password*, of 1 to 255 bytes: more SOCKS5 cannot carry.

    Raises:
        ConfigError: if it is empty or longer.
    """
    if not password:
        raise ConfigError("the password is empty: type one")
    if len(password) > MAX_PASSWORD:
        raise ConfigError(f"SOCKS5 carries passwords of at most {MAX_PASSWORD} bytes")
    return PasswordHash.make(password, salt=entropy(SALT_SIZE))


def load_users(path: Path) -> dict[str, PasswordHash]:
    """Return the users in the file *path*.

    Raises:
        ConfigError: if it cannot be read, is open to others, or has an error.
    """
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise ConfigError(f"{path}: others may read it: chmod 0600 {path}")
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror}; make it with: meshnode proxy user NAME "
            f"--file {path}"
        ) from None
    return parse_users(data, str(path))


def save_user(path: Path, name: str, known: PasswordHash) -> None:
    """Write the user to the file *path*, in the place of one of that name.

    The file is made with mode 0600; an error leaves it as it was.

    Raises:
        ConfigError: if what is there is no file of users, or is not writable.
    """
    users = load_users(path) if path.exists() else {}
    users[check_user(name)] = known
    fresh = path.with_name(f".{path.name}.new")
    try:
        fresh.unlink(missing_ok=True)
        descriptor = os.open(
            fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600
        )
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), stat.S_IRUSR | stat.S_IWUSR)
            file.write(serialise_users(users).encode("ascii"))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None


def serialise_users(users: Mapping[str, PasswordHash]) -> str:
    """Return the text of a file."""
    return "".join(f"{name}:{known}\n" for name, known in users.items())
