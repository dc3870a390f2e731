"""Where a message ends in its frame."""

import pytest

from meshnode.codec.messages import HEADER_BYTES, frame_end


@pytest.mark.parametrize(("header", "end"), [("010000", 3), ("01b004", 1203)])
def test_the_header_says_where_a_message_ends(header: str, end: int) -> None:
    """Two bytes, the low one first, whatever comes behind it."""
    frame = bytes.fromhex(header)
    assert len(frame) == HEADER_BYTES
    assert frame_end(frame) == frame_end(frame + b"\xff" * 9) == end
