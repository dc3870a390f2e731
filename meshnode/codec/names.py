"""The grammar of names: strict LDH labels, as host names have them (RFC 1123, 2.1).

A name that passes can stand in a command, a file name, a log line or a DNS name
without quoting: nothing in it is special to any of them.
"""

import string
from typing import Final

from meshnode.errors import ConfigError

MAX_LABEL_BYTES: Final = 63
"""DNS's own limit of a label (RFC 1035, 2.3.4)."""

_LABEL_CHARACTERS = frozenset(string.ascii_lowercase + string.digits + "-")


def check_label(text: str, what: str, max_bytes: int = MAX_LABEL_BYTES) -> str:
    """Return *text* if it is a label of at most *max_bytes*; *what* names it.

    Raises:
        ConfigError: if it is not; the text is not repeated, since it may hold
            anything.
    """
    if (
        not 1 <= len(text) <= max_bytes
        or not _LABEL_CHARACTERS.issuperset(text)
        or text.startswith("-")
        or text.endswith("-")
    ):
        raise ConfigError(
            f"{what} is not 1 to {max_bytes} of a-z, 0-9 and '-', "
            "with no '-' at either end"
        )
    return text


def check_printable(text: str, what: str, max_bytes: int) -> str:
    """Return *text* if it is at most *max_bytes* of printable ASCII; may be empty.

    Raises:
        ConfigError: if it is not.
    """
    if len(text) > max_bytes or not (text.isascii() and text.isprintable()):
        raise ConfigError(f"{what} is not at most {max_bytes} of printable ASCII")
    return text
