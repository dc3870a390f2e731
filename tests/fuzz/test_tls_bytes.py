"""Whatever bytes come by TLS, from a proxy or another process: one kind of error."""

from hypothesis import given
from hypothesis import strategies as st

from meshnode.codec.proxies import Credentials, open_dialogue
from meshnode.codec.tls_frames import FrameReader
from meshnode.codec.tls_link import decode_from_control, decode_from_tls, encode
from meshnode.crypto.keys import PrivateKey
from meshnode.errors import AuthenticationError, CodecError
from meshnode.mesh.tls_proof import prove
from meshnode.types import Target

TARGET = Target("192.0.2.1", 443)
PIECES = st.lists(st.binary(min_size=1, max_size=64), max_size=8)
HTTP = (b"HTTP/1.1 200", b"HTTP/1.0 ", b"\r\n\r\n", b"\r\n")
SOCKS = (b"\x05\0", b"\x05\x02", b"\x01\0", b"\x05\0\0\x01", b"\x05\0\0\x04")
LIKELY = st.sampled_from([*HTTP, *SOCKS])


@given(
    st.sampled_from(["http", "socks5"]),
    st.booleans(),
    st.lists(st.one_of(LIKELY, st.binary(min_size=1, max_size=32)), max_size=8),
)
def test_proxies_may_say_anything(
    scheme: str, has_user: bool, pieces: list[bytes]
) -> None:
    """A dialogue is open, waits, or refuses; it never says more than it has to."""
    credentials = Credentials("carol", "s3cret") if has_user else Credentials()
    dialogue = open_dialogue(scheme, TARGET, credentials)
    sent = len(dialogue.data_to_send())
    try:
        for piece in pieces:
            dialogue.receive(piece)
            sent += len(dialogue.data_to_send())
    except CodecError:
        pass
    assert sent < 200


@given(PIECES)
def test_streams_may_be_anything(pieces: list[bytes]) -> None:
    """No frame is longer than what came."""
    reader, came = FrameReader(), 0
    try:
        for piece in pieces:
            came += len(piece)
            assert sum(map(len, reader.receive(piece))) <= came
    except CodecError:
        return


@given(st.binary(max_size=200))
def test_links_may_carry_anything(data: bytes) -> None:
    """What is decoded can be said again."""
    for decode in (decode_from_control, decode_from_tls):
        try:
            message = decode(data)
        except CodecError:
            continue
        assert decode(encode(message)) == message


@given(st.binary(max_size=200))
def test_challenges_may_be_anything(data: bytes) -> None:
    """Nobody is answered who does not know us."""
    try:
        prove(PrivateKey(bytes(range(32))), data, bytes(32))
    except AuthenticationError:
        return
    raise AssertionError("a challenge out of nothing")
