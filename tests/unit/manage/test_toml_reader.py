"""Strict reading of TOML: what is asked for, and what an error says."""

import pytest

from meshnode.errors import ConfigError
from meshnode.manage import toml_reader
from meshnode.manage.toml_reader import (
    Table,
    boolean,
    choice,
    integer,
    parse_document,
    prefix,
    quote,
    quote_all,
    text,
)


def document(data: str) -> Table:
    """The document in *data*, of a file called f.toml."""
    return parse_document(data.encode(), "f.toml")


def test_values_are_read() -> None:
    """Each type by the function that reads it; what is missing is the default."""
    table = document('a = 1\nb = "x"\nc = [1, 2]\nd = true\n[t]\ne = 5\n[[u]]\n[[u]]\n')
    assert table.get("a", integer(0, 1), None) == 1
    assert table.get("b", text, None) == "x"
    assert table.items("c", integer(0, 9)) == (1, 2)
    assert table.get("d", boolean, None) is True
    assert table.get("missing", boolean, False) is False
    assert table.optional("missing", text) is None
    assert table.optional("b", choice("x", "y")) == "x"
    assert table.items("missing", text) == ()
    assert table.table("t").get("e", integer(0, 9), None) == 5
    assert table.table("missing").optional("x", text) is None
    assert len(table.tables("u")) == 2
    table.finish()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("a = 2", r"f\.toml: a: 2 is not a number of 0 to 1"),
        ("a = true", r"f\.toml: a: true is not a number of 0 to 1"),
        ("a = 1.0", r"f\.toml: a: 1\.0 is not a number of 0 to 1"),
        ("a = 1979-05-27", r'f\.toml: a: "1979-05-27" is not a number'),
        ("", r"f\.toml: a: is missing"),
    ],
)
def test_errors_name_file_key_and_value(data: str, message: str) -> None:
    """One line that says where, what, and what would be right."""
    with pytest.raises(ConfigError, match=f"^{message}"):
        document(data).get("a", integer(0, 1), None)


def test_errors_name_the_path_into_lists_and_tables() -> None:
    """Elements are numbered from 0."""
    table = document('[[r.a]]\n[[r.a]]\np = ["x", ""]\n')
    second = table.table("r").tables("a")[1]
    with pytest.raises(ConfigError, match=r"f\.toml: r\.a\[1\]\.p\[1\]: \"\" is not"):
        second.items("p", text)


@pytest.mark.parametrize(
    ("read", "data"),
    [
        (lambda table: table.items("a", text), "a = 1"),
        (lambda table: table.table("a"), "a = 1"),
        (lambda table: table.tables("a"), "a = 1"),
        (lambda table: table.tables("a"), "a = [1]"),
        (lambda table: table.tables("a"), "[a]"),
        (lambda table: table.table("a"), "[[a]]"),
    ],
)
def test_the_wrong_shape_is_refused(read: object, data: str) -> None:
    """A list is no table, and a number is neither."""
    with pytest.raises(ConfigError, match=r"f\.toml: a(\[0\])?: .*(list|table)"):
        read(document(data))  # type: ignore[operator]


def test_unknown_keys_are_refused_with_the_nearest_name() -> None:
    """A slip of the finger is not taken for silence."""
    table = document("[node]\nlisten_prot = 1\n").table("node")
    table.get("listen_port", integer(0, 9), 0)
    table.get("mtu", integer(0, 9), 0)
    expected = r"f\.toml: node\.listen_prot: .* did you mean listen_port\?"
    with pytest.raises(ConfigError, match=expected):
        table.finish()


def test_unknown_keys_like_no_other_get_the_list() -> None:
    """Then all known names are told."""
    table = document("zzz = 1\n")
    table.optional("mtu", text)
    table.optional("engine", text)
    with pytest.raises(ConfigError, match=r"zzz: .* known here are engine, mtu"):
        table.finish()


@pytest.mark.parametrize(
    "data",
    [
        b"a = ",
        b"a = 1\na = 2",
        b"\xff",
        b"\x00",
        b"a = '''",
        b"a = " + b"[" * 100_000,
        b"a = " + b"9" * 5000,
        b"a = 2000-13-45",
    ],
)
def test_what_is_no_toml_is_refused(data: bytes) -> None:
    """Whatever the parser trips over, the error is one line with the file."""
    with pytest.raises(ConfigError, match=r"^f\.toml: ") as caught:
        parse_document(data, "f.toml")
    assert str(caught.value).isprintable()


def test_long_lists_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list has a bound."""
    monkeypatch.setattr(toml_reader, "MAX_ITEMS", 2)
    assert document('a = ["x", "y"]').items("a", text) == ("x", "y")
    with pytest.raises(ConfigError, match="a: has more than 2"):
        document('a = ["x", "y", "z"]').items("a", text)


def test_hostile_values_are_shown_short_and_printable() -> None:
    """An error holds no control characters and little of a long value."""
    with pytest.raises(ConfigError) as caught:
        document(f'a = "\\u001b[31m{"x" * 500}"').get("a", text, None)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200
    table = document('"\\u001b" = 1')
    with pytest.raises(ConfigError) as caught:
        table.finish()
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("value", ["", "a", 'a"b', "a\\b", "\x00\x1f\x7f", "é€𝄞", "\n"])
def test_quoted_text_reads_as_itself(value: str) -> None:
    """What is written by `quote` is read back."""

    def same(found: object) -> str:
        assert isinstance(found, str)
        return found

    assert document(f"a = {quote(value)}").get("a", same, None) == value


def test_prefixes_are_read_and_written_back() -> None:
    """Host bits are refused, with what was probably meant."""
    table = document('a = ["10.0.0.0/8", "2001:db8::/32"]\n')
    found = table.items("a", prefix)
    assert quote_all(found) == '["10.0.0.0/8", "2001:db8::/32"]'
    with pytest.raises(ConfigError, match=r'has host bits; write "10\.0\.0\.0/8"'):
        prefix("10.0.0.1/8")
    with pytest.raises(ConfigError, match="is not an IP prefix"):
        prefix("ten")
