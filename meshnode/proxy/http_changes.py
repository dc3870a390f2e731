"""What the configuration changes of the header fields of requests: pure.

A field that makes two machines understand each other is not the configuration's.
"""

import re
from collections.abc import Sequence
from typing import Final

from meshnode.errors import ConfigError
from meshnode.values import frozen

Fields = list[tuple[bytes, bytes]]
"""Names as they were written, and values."""

ONE_HOP: Final = frozenset(
    (
        *(b"connection", b"keep-alive", b"te", b"transfer-encoding", b"upgrade"),
        *(b"proxy-connection", b"proxy-authenticate", b"proxy-authorization"),
        *(b"proxy-authentication-info", b"http2-settings"),
    )
)
# A client must not have these removed by naming them in Connection.
ALWAYS_KEPT: Final = frozenset((b"content-length", b"host", b"via", b"max-forwards"))
_OURS: Final = ONE_HOP | ALWAYS_KEPT | {b"expect", b"trailer"}
_NAME: Final = re.compile(r"[-!#$%&'*+.^_`|~0-9a-zA-Z]+")
_VALUE: Final = re.compile(r"[\x21-\x7e]([\x20-\x7e\t]*[\x21-\x7e])?|")


@frozen
class HeaderChanges:
    """Fields of requests to set (in place of what the client has) and to remove.

    Names to remove are in lower case.
    """

    set: tuple[tuple[bytes, bytes], ...] = ()
    remove: frozenset[bytes] = frozenset()

    @classmethod
    def parse(cls, set: Sequence[str], remove: Sequence[str]) -> "HeaderChanges":
        """Read `Name: value` of each to set, `Name` of each to remove.

        Raises:
            ConfigError: if one is none, or is not the configuration's to change.
        """
        fields = []
        for text in set:
            name, colon, value = text.partition(":")
            if not colon or not _VALUE.fullmatch(value.strip()):
                raise ConfigError("is not NAME: VALUE")
            fields.append((_name(name), value.strip().encode()))
        return cls(tuple(fields), frozenset(_name(name).lower() for name in remove))

    def apply(self, fields: Fields) -> Fields:
        """Return *fields* as they should be."""
        gone = self.remove | {name.lower() for name, _ in self.set}
        return [field for field in fields if field[0].lower() not in gone] + [*self.set]


def _name(text: str) -> bytes:
    if not _NAME.fullmatch(text):
        raise ConfigError(f"{text!r} is no name of a header field")
    name = text.encode()
    if name.lower() in _OURS:
        raise ConfigError(
            f"{text} is the proxy's own: it can be neither set nor removed"
        )
    return name
