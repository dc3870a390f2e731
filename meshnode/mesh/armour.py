"""Text that carries bytes through mail and clipboards: base64 between two lines.

-----BEGIN MESHNODE REQUEST-----
k9kBcGxhcHRvcA…
-----END MESHNODE REQUEST-----

What stands before and after is not read, so a whole mail may be given.
"""

import base64
import binascii
from typing import Final

from meshnode.errors import ConfigError

LINE_CHARACTERS: Final = 64


def armour(what: str, data: bytes) -> str:
    """Return *data* as text; *what* names it in one word, such as `request`."""
    coded = base64.b64encode(data).decode("ascii")
    lines = [
        coded[start : start + LINE_CHARACTERS]
        for start in range(0, len(coded), LINE_CHARACTERS)
    ]
    return "\n".join([_begin(what), *lines, _end(what), ""])


def unarmour(what: str, text: str, *, max_bytes: int) -> bytes:
    """Return the bytes of the first *what* in *text*, at most *max_bytes*.

    Raises:
        ConfigError: saying whether there is none, or it is cut short or damaged.
    """
    # Line breaks and a signature of the mail make a text longer, but not that much.
    if len(text) > 4 * max_bytes + 65536:
        raise ConfigError(f"this is no meshnode {what}: it is too long")
    lines = [line.strip() for line in text.splitlines()]
    if _begin(what) not in lines:
        raise ConfigError(f"this is no meshnode {what}: it has no line {_begin(what)}")
    begin = lines.index(_begin(what)) + 1
    if _end(what) not in lines[begin:]:
        raise ConfigError(f"the {what} is cut short; copy it again, whole")
    coded = "".join(lines[begin : lines.index(_end(what), begin)])
    try:
        data = base64.b64decode(coded, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if base64.b64encode(data).decode("ascii") != coded or not data:
        raise ConfigError(f"the {what} is damaged; copy it again, whole")
    if len(data) > max_bytes:
        raise ConfigError(f"this is no meshnode {what}: it is too long")
    return data


def _begin(what: str) -> str:
    return f"-----BEGIN MESHNODE {what.upper()}-----"


def _end(what: str) -> str:
    return f"-----END MESHNODE {what.upper()}-----"
