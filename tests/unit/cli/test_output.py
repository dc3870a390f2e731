"""JSON and secrets on standard output."""

import json

import pytest

from meshnode.cli import output


def test_json_has_a_schema(capsys: pytest.CaptureFixture[str]) -> None:
    """Every object begins with the number of its schema."""
    output.print_json({"a": 1})
    assert json.loads(capsys.readouterr().out) == {"schema": 1, "a": 1}


def test_a_secret_is_a_line_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    """A labelled secret is bare for wg, named for programs."""
    output.print_labelled_secret("key", "abc", as_json=False)
    output.print_labelled_secret("key", "abc", as_json=True)
    plain, as_json = capsys.readouterr().out.splitlines()
    assert plain == "abc"
    assert json.loads(as_json) == {"schema": 1, "key": "abc"}
