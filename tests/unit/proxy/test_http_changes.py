"""What a configuration may change of the fields of requests."""

import pytest

from meshnode.errors import ConfigError
from meshnode.proxy.http_changes import HeaderChanges


def test_fields_are_set_in_place_of_what_there_is_and_removed() -> None:
    """Whatever their case; all others stay in order."""
    changes = HeaderChanges.parse(["X-A: new ", "Empty:"], ["REFERER"])
    fields = [(b"x-a", b"old"), (b"B", b"b"), (b"X-A", b"older"), (b"Referer", b"r")]
    assert changes.apply([*fields, (b"C", b"c")]) == [
        *((b"B", b"b"), (b"C", b"c"), (b"X-A", b"new"), (b"Empty", b"")),
    ]
    assert HeaderChanges().apply(fields) == fields


@pytest.mark.parametrize(
    "bad",
    ["X", "X : y", ": y", "X: a\nY: b", "X: \0", "Host: a", "Via: x", "TE: trailers"],
)
def test_bad_changes(bad: str) -> None:
    """What is no field, and what is ours alone."""
    with pytest.raises(ConfigError):
        HeaderChanges.parse([bad], [])
    with pytest.raises(ConfigError):
        HeaderChanges.parse([], ["Content-Length"])
