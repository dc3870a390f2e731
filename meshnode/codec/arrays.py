"""One msgpack array, bounded in every direction before anything is made of it.

No map, extension, timestamp or float is ever taken, and only the shortest spelling
of each value: who signs or hashes bytes must know that no others say the same.
"""

from typing import Any, Final

import msgpack

from meshnode.errors import CodecError

MAX_ITEMS: Final = 64
"""The longest array of all layouts."""

MAX_DEPTH: Final = 4
"""Arrays within arrays: a layout, a list in it, a record of that, and one to spare."""

_PLAIN_TYPES = frozenset((list, bytes, str, int, bool, type(None)))


def pack_array(plain: list[Any]) -> bytes:
    """Return the msgpack array of *plain* data.

    Raises:
        CodecError: if msgpack cannot express it.
    """
    try:
        data: bytes = msgpack.packb(plain)
    except (ValueError, OverflowError, TypeError) as error:
        raise CodecError(str(error)) from None
    return data


def unpack_array(data: bytes, *, max_bytes: int) -> list[Any]:
    """Return the plain data of one msgpack array, bounded in every direction.

    Raises:
        CodecError: for anything else, and for trailing bytes.
    """
    if len(data) > max_bytes:
        raise CodecError("too long")
    try:
        plain = msgpack.unpackb(
            data,
            max_str_len=max_bytes,
            max_bin_len=max_bytes,
            max_array_len=MAX_ITEMS,
            max_map_len=0,
            max_ext_len=0,
        )
    except Exception as error:
        # msgpack names its exceptions in part only, and has changed them before.
        raise CodecError(f"no msgpack of ours ({type(error).__name__})") from None
    if type(plain) is not list:
        raise CodecError("not an array")
    _require_plain(plain)
    return plain


def _require_plain(plain: list[Any]) -> None:
    level = [plain]
    for _ in range(MAX_DEPTH):
        items = [item for array in level for item in array]
        if not _PLAIN_TYPES.issuperset(map(type, items)):
            raise CodecError("a map or number that does not belong here")
        level = [item for item in items if type(item) is list]
        if not level:
            return
    raise CodecError("nested too deeply")


def require_canonical(plain: list[Any], data: bytes) -> None:
    """Check that *data* is the one encoding of *plain*, which was read from it.

    Raises:
        CodecError: if it is another spelling, such as 1 in two bytes.
    """
    if pack_array(plain) != data:
        raise CodecError("not the canonical encoding")
