"""Messages between two of our processes: a number for the type, and the record.

A link has a catalogue for each direction, from numbers to types and what they hold.
"""

from collections.abc import Mapping
from typing import Any, Final

from meshnode.codec.arrays import pack_array, unpack_array
from meshnode.codec.strict import Kind
from meshnode.errors import CodecError, ConfigError
from meshnode.types import Endpoint

Catalogue = Mapping[int, tuple[type, Kind]]


def encode_message(message: object, *catalogues: Catalogue) -> bytes:
    """Return the bytes of *message*, which one of the *catalogues* holds.

    Raises:
        CodecError: if a field is out of range, or it is no message of the link.
    """
    for catalogue in catalogues:
        for number, (of, kind) in catalogue.items():
            if type(message) is of:
                try:
                    return pack_array([number, kind.pack(message)])
                except ValueError as error:
                    raise CodecError(f"{of.__name__}: {error}") from None
    raise CodecError(f"{type(message).__name__} is no message of this link")


def decode_message(data: bytes, catalogue: Catalogue, *, max_bytes: int) -> Any:
    """Return the message in *data*, of a type of *catalogue*; raises `CodecError`."""
    plain = unpack_array(data, max_bytes=max_bytes)
    if len(plain) != 2 or type(plain[0]) is not int or plain[0] not in catalogue:
        raise CodecError("unknown type of message")
    try:
        return catalogue[plain[0]][1].unpack(plain[1])
    except ValueError as error:
        raise CodecError(str(error)) from None


def _unpack_endpoint(plain: Any) -> Endpoint:
    if type(plain) is not str:
        raise ValueError("not a text")
    try:
        endpoint = Endpoint.parse(plain)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    if str(endpoint) != plain:
        raise ValueError("not the usual form of an endpoint")
    return endpoint


PLACE: Final = Kind(str, _unpack_endpoint)
"""An endpoint in its usual text form."""
