"""The engines of this version, by name; the choice is explicit and never changed."""

import importlib.util

from meshnode.dataplane.interface import EngineFactory
from meshnode.errors import ConfigError

_COMPILED = "meshnode.dataplane.fast.sending"


def check_engine(name: str, workers: int = 1) -> None:
    """Raise `ConfigError` if no engine called *name* can run here.

    *workers* is how many of each direction are wanted. For who will not run it: no
    engine is imported.
    """
    if workers > 1 and name != "fast":
        raise ConfigError(
            f"workers = {workers} needs engine = fast: use it, or workers = 1"
        )
    if name == "fast":
        if importlib.util.find_spec(_COMPILED) is None:
            raise ConfigError(
                "the fast engine was not compiled here: install meshnode with a C "
                "compiler and libssl-dev, or use engine = reference"
            )
    elif name != "reference":
        raise ConfigError(
            f"there is no engine {name!r}; use engine = reference or fast"
        )


def open_engine(name: str) -> EngineFactory:
    """Return the factory of the engine called *name*.

    Raises:
        ConfigError: if there is no such engine here.
    """
    check_engine(name)
    if name == "fast":
        from meshnode.dataplane.fast import FastFactory

        return FastFactory()
    from meshnode.dataplane.reference import ReferenceFactory

    return ReferenceFactory()
