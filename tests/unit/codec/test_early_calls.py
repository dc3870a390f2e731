"""Early calls as bytes."""

import pytest

from meshnode.codec.early_calls import (
    EARLY_CALL_TYPE,
    EarlyCall,
    decode_early_call,
    encode_early_call,
)
from meshnode.errors import CodecError

CALL = EarlyCall(0x0102, b"record")
DATA = bytes((9, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0)) + b"record"


def test_the_layout_is_fixed() -> None:
    """Type, version, record."""
    assert encode_early_call(CALL) == DATA
    assert decode_early_call(DATA) == CALL
    assert DATA[0] == EARLY_CALL_TYPE


@pytest.mark.parametrize("version", [-1, 2**64])
def test_versions_have_64_bits(version: int) -> None:
    """No more and no less."""
    with pytest.raises(CodecError):
        encode_early_call(EarlyCall(version, b"record"))


@pytest.mark.parametrize("data", [b"", DATA[:12], bytes((7,)) + DATA[1:]])
def test_what_is_none_is_refused(data: bytes) -> None:
    """Cut short, or of another type."""
    with pytest.raises(CodecError):
        decode_early_call(data)
