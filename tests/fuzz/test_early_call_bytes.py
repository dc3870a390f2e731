"""Any bytes as an early call: refused, or exactly what encoding gives."""

from hypothesis import given
from hypothesis import strategies as st

from meshnode.codec.early_calls import decode_early_call, encode_early_call
from meshnode.errors import CodecError


@given(st.binary(max_size=64))
def test_any_bytes(data: bytes) -> None:
    """There is one spelling of each."""
    for whole in (data, b"\x09\0\0\0" + data):
        try:
            call = decode_early_call(whole)
        except CodecError:
            continue
        assert encode_early_call(call) == whole
