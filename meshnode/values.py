"""Immutable values, for a fraction of what `dataclass(frozen=True, slots=True)` costs.

Every process makes a hundred classes of values or more when it starts, and the
standard decorator compiles six methods for each: that was half of the time that our
modules took to import. Here only `__init__` is compiled; the other methods are closures
over the names of the fields. In all else a value is a dataclass: `fields`, `replace`,
`asdict` and `match` work.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, field
from operator import attrgetter
from typing import Any, TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[T]) -> type[T]:
    """Make *cls* immutable, with slots, by the fields that it annotates.

    Values of one class with equal fields are equal, and hash alike. Of what `field`
    takes, defaults and `repr` count. A method that *cls* has of its own stays.
    """
    made: Any = dataclass(init=False, repr=False, eq=False, slots=True)(cls)
    fields = dataclasses.fields(made)
    methods = [_init(made, fields), *_by_content(fields), _repr(fields), *_refusals()]
    for method in methods:
        if method.__name__ not in cls.__dict__:
            method.__qualname__ = f"{made.__qualname__}.{method.__name__}"
            setattr(made, method.__name__, method)
    value: type[T] = made
    return value


def _init(made: Any, fields: Sequence[Field[Any]]) -> Callable[..., None]:
    """Compile `__init__`, which fills the slots themselves: assignment is refused."""
    names: dict[str, Any] = {"_missing": MISSING}
    parameters, body = ["self"], ["pass"]
    for one in fields:
        name, given = one.name, one.name
        names[f"_set_{name}"] = getattr(made, name).__set__
        if one.default is not MISSING:
            names[f"_default_{name}"] = one.default
            parameters.append(f"{name}=_default_{name}")
        elif one.default_factory is not MISSING:
            names[f"_make_{name}"] = one.default_factory
            parameters.append(f"{name}=_missing")
            given = f"_make_{name}() if {name} is _missing else {name}"
        else:
            parameters.append(name)
        body.append(f"_set_{name}(self, {given})")
    exec(f"def __init__({', '.join(parameters)}): {'; '.join(body)}", names)
    init: Callable[..., None] = names["__init__"]
    return init


def _by_content(fields: Sequence[Field[Any]]) -> list[Callable[..., Any]]:
    names = [one.name for one in fields]
    content: Callable[[Any], Any]
    if len(names) > 1:
        content = attrgetter(*names)
    else:
        # One name alone would be its content, not a tuple of it.
        def content(value: Any) -> Any:
            return tuple([getattr(value, name) for name in names])

    def __eq__(self: Any, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        is_equal: bool = content(self) == content(other)
        return is_equal

    def __hash__(self: Any) -> int:
        return hash(content(self))

    def __reduce__(self: Any) -> tuple[type, Any]:
        return self.__class__, content(self)

    return [__eq__, __hash__, __reduce__]


def _repr(fields: Sequence[Field[Any]]) -> Callable[..., str]:
    names = [one.name for one in fields if one.repr]

    def __repr__(self: Any) -> str:
        shown = ", ".join([f"{name}={getattr(self, name)!r}" for name in names])
        return f"{self.__class__.__qualname__}({shown})"

    return __repr__


def _refusals() -> list[Callable[..., None]]:
    def __setattr__(self: Any, name: str, _: object) -> None:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self: Any, name: str) -> None:
        raise FrozenInstanceError(f"cannot delete field {name!r}")

    return [__setattr__, __delattr__]
