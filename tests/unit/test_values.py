"""Immutable values: what they share with the standard library's dataclasses."""

import copy
import dataclasses
import pickle
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

import pytest

from meshnode.values import frozen


@frozen
class Point:
    """Two fields, one with a default and one that is not shown."""

    x: int
    y: int = 2
    secret: bytes = field(default=b"", repr=False)


@frozen
class Bag:
    """A field whose default is made anew each time."""

    things: list[int] = field(default_factory=list)


@frozen
class Name:
    """One field, and methods of its own."""

    text: str

    def __repr__(self) -> str:
        return f"<{self.text}>"

    @property
    def length(self) -> int:
        """Of the text."""
        return len(self.text)


@frozen
class Nothing:
    """No field at all."""


@dataclass(frozen=True, slots=True)
class Standard:
    """What `Point` is in the standard library's words."""

    x: int
    y: int = 2
    secret: bytes = field(default=b"", repr=False)


@pytest.mark.parametrize("kind", [Point, Standard])
def test_it_is_made_as_a_dataclass_is(kind: Any) -> None:
    """By position, by name and by default; nothing else is taken."""
    assert kind(1) == kind(x=1, y=2, secret=b"")
    assert (kind(1, 3).x, kind(1, 3).y) == (1, 3)
    for wrong in ({}, {"x": 1, "z": 2}):
        with pytest.raises(TypeError):
            kind(**wrong)
    assert repr(kind(1, secret=b"k")) == f"{kind.__name__}(x=1, y=2)"


@pytest.mark.parametrize("kind", [Point, Standard])
def test_it_cannot_be_changed(kind: Any) -> None:
    """Neither its fields nor by new ones."""
    value = kind(1)
    for name in ("x", "more"):
        # The standard one raises TypeError for a name that is no field.
        with pytest.raises((dataclasses.FrozenInstanceError, TypeError)):
            setattr(value, name, 5)
    with pytest.raises(dataclasses.FrozenInstanceError):
        del value.x
    assert not hasattr(value, "__dict__")


def test_equal_values_are_equal_and_hash_alike() -> None:
    """By all fields, hidden ones too, and only within one class."""
    assert Point(1) == Point(1, 2)
    assert Point(1) != Point(1, secret=b"k")
    assert Point(1) != Standard(1)
    assert Point(1) != (1, 2, b"")
    assert Nothing() == Nothing() != Bag()
    assert len({Point(1), Point(1, 2), Name("a"), Name("a"), Nothing()}) == 3
    with pytest.raises(TypeError, match="unhashable"):
        hash(Bag())


def test_a_default_is_made_for_each() -> None:
    """No two share a list; one that is given is taken, even an empty one."""
    assert Bag().things is not Bag().things
    given: list[int] = []
    assert Bag(given).things is given


def test_methods_of_its_own_stay() -> None:
    """The decorator adds what is missing."""
    assert repr(Name("a")) == "<a>"
    assert Name("abc").length == 3


def test_it_is_a_dataclass() -> None:
    """`fields`, `replace`, `asdict` and `match` work on it."""
    assert [one.name for one in dataclasses.fields(Point)] == ["x", "y", "secret"]
    assert dataclasses.replace(Point(1), y=5) == Point(1, 5)
    assert dataclasses.asdict(Name("a")) == {"text": "a"}
    match Point(1, 3):
        case Point(x, y):
            assert (x, y) == (1, 3)


@pytest.mark.parametrize("value", [Point(1, 3, b"k"), Name("a"), Nothing(), Bag([1])])
def test_it_can_be_copied_and_pickled(value: Any) -> None:
    """The simulations send values from process to process."""
    assert copy.copy(value) == value
    assert copy.deepcopy(value) == value
    assert pickle.loads(pickle.dumps(value)) == value


def test_nothing_but_the_constructor_is_compiled() -> None:
    """That is what it is for: the standard decorator compiles six methods."""
    script = (
        "import builtins\n"
        "from meshnode.values import frozen\n"
        "compiled, real = [], builtins.exec\n"
        "def exec(*arguments):\n"
        "    compiled.append(arguments[0])\n"
        "    return real(*arguments)\n"
        "builtins.exec = exec\n"
        "@frozen\n"
        "class Point:\n"
        "    'Two fields.'\n"
        "    x: int\n"
        "    y: int = 0\n"
        "assert Point(1) == Point(1, 0)\n"
        "print(len(compiled))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True
    )
    assert done.stdout.split() == [b"1"]
