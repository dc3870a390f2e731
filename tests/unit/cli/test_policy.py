"""`meshnode policy`: checked, applied and shown."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meshnode.manage.api_client import RemoteError

GOOD = '[[rule]]\nfrom = "a"\nto = "b"\nallow = "tcp:22"\n'
BAD = '[[rule]]\nfrom = "a"\nto = "b"\nallow = "gre"\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A policy."""
    path = tmp_path / "policy.toml"
    path.write_text(GOOD)
    return path


def test_a_policy_is_checked_with_the_members(
    meshnode: Callable[..., Any], node: Any, file: Path
) -> None:
    """What its tests find is the node's to say."""
    node.answers["policy check"] = {"warnings": ["no member is called a yet"]}
    result = meshnode("policy", "check", str(file))
    assert (result.code, result.out) == (0, "")
    assert result.err == "warning: no member is called a yet\n"
    assert node.of("policy check") == {"text": GOOD}
    node.answers["policy check"] = RemoteError("test 1: it is not", 1)
    failed = meshnode("policy", "check", "-", stdin=GOOD.encode())
    assert (failed.code, failed.err) == (1, "meshnode: test 1: it is not\n")


def test_only_the_grammar_is_checked_without_a_node(
    meshnode: Callable[..., Any], node: Any, file: Path
) -> None:
    """And that is said."""
    result = meshnode("policy", "check", str(file))
    assert result.code == 0
    assert result.err.startswith("the tests were not run: network home is not up")
    told = json.loads(meshnode("policy", "check", str(file), "--json").out)
    assert told == {"schema": 1, "warnings": [], "testsRun": False}


def test_a_host_without_networks_checks_the_grammar(
    meshnode: Callable[..., Any], directories: Any, file: Path
) -> None:
    """A policy is written where its author sits."""
    result = meshnode("policy", "check", str(file))
    assert result.code == 0
    assert "in no network" in result.err
    assert meshnode("policy", "check", "-n", "home", str(file)).code == 3


@pytest.mark.parametrize("verb", ["check", "apply"])
def test_bad_grammar_reaches_no_node(
    meshnode: Callable[..., Any], node: Any, file: Path, verb: str
) -> None:
    """The line names file, rule and word."""
    file.write_text(BAD)
    node.answers[f"policy {verb}"] = {"warnings": [], "version": 9}
    result = meshnode("policy", verb, str(file))
    assert result.code == 1
    assert f'{file}: rule 1: allow: "gre" is no service' in result.err
    assert node.asked == []


def test_a_policy_is_applied(
    meshnode: Callable[..., Any], node: Any, file: Path
) -> None:
    """Its version is told."""
    node.answers["policy apply"] = {"version": 3, "warnings": ["w"]}
    result = meshnode("policy", "apply", str(file))
    assert result.out == "policy version 3 is in force\n"
    assert result.err == "warning: w\n"
    told = json.loads(meshnode("policy", "apply", str(file), "--json").out)
    assert told == {"schema": 1, "version": 3, "warnings": ["w"]}


def test_a_policy_is_shown_as_it_was_written(
    meshnode: Callable[..., Any], node: Any
) -> None:
    """Standard output is the file again."""
    node.answers["policy show"] = {"version": 2, "text": GOOD}
    result = meshnode("policy", "show")
    assert (result.out, result.err) == (GOOD, "# version 2\n")
    assert json.loads(meshnode("policy", "show", "--json").out)["text"] == GOOD
    node.answers["policy show"] = {"version": 0, "text": ""}
    none = meshnode("policy", "show")
    assert (none.code, none.out) == (0, "")
    assert "no policy" in none.err


def test_a_file_that_is_not_there_is_one_line(
    meshnode: Callable[..., Any], node: Any
) -> None:
    """Exit code 1."""
    result = meshnode("policy", "check", "/nowhere/policy.toml")
    assert result.code == 1
    assert result.err == "meshnode: /nowhere/policy.toml: No such file or directory\n"
