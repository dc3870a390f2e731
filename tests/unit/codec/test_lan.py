"""The bytes of LAN announcements."""

import pytest

from meshnode.codec.lan import (
    ANNOUNCEMENT_SIZE,
    Word,
    WordKind,
    parse_announcement,
    parse_word,
    serialise_header,
    serialise_word,
)
from meshnode.errors import CodecError

KEY = bytes(range(32))


@pytest.mark.parametrize("host", ["192.168.7.5", "fe80::1"])
@pytest.mark.parametrize("kind", list(WordKind))
def test_word_comes_back(kind: WordKind, host: str) -> None:
    """The length says nothing of what it is."""
    word = Word(kind, KEY, host, 51820)
    data = serialise_word(word)
    assert parse_word(data) == word
    assert len(data) == 51


def test_word_has_the_documented_bytes() -> None:
    """Kind, key, port, address."""
    data = serialise_word(Word(WordKind.ANSWER, KEY, "192.168.7.5", 0x1234))
    expected = (
        b"\2" + KEY + b"\x12\x34" + bytes(10) + b"\xff\xff" + bytes([192, 168, 7, 5])
    )
    assert data == expected


@pytest.mark.parametrize(("at", "value"), [(0, 0), (0, 3)])
def test_unknown_kind_is_refused(at: int, value: int) -> None:
    """A later one may mean anything."""
    data = bytearray(serialise_word(Word(WordKind.ANSWER, KEY, "192.168.7.5", 5)))
    data[at] = value
    with pytest.raises(CodecError):
        parse_word(bytes(data))


def test_word_without_port_or_of_another_length_is_refused() -> None:
    """Nobody can be reached there."""
    data = serialise_word(Word(WordKind.ANSWER, KEY, "192.168.7.5", 0))
    for bad in (data, data[:-1], data + b"\0", b""):
        with pytest.raises(CodecError):
            parse_word(bad)


def test_announcement_is_taken_apart() -> None:
    """Its header is what the seal covers beside the word."""
    header = serialise_header(20000)
    data = header + b"n" * 24 + b"s" * 67
    assert len(data) == ANNOUNCEMENT_SIZE
    sealed = parse_announcement(data)
    assert (sealed.header, sealed.day) == (header, 20000)
    assert (sealed.nonce, sealed.sealed) == (b"n" * 24, b"s" * 67)
    for bad in (data[:-1], data + b"s", b"\2" + data[1:], b""):
        with pytest.raises(CodecError):
            parse_announcement(bad)
