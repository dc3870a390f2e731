"""The engines of this version, by name; the choice is explicit and never changed."""

from meshnode.dataplane.interface import EngineFactory
from meshnode.errors import ConfigError


def check_engine(name: str) -> None:
    """Raise `ConfigError` if this version has no engine called *name*.

    For who will not run it: no engine is imported.
    """
    if name == "fast":
        raise ConfigError(
            "the fast engine is not built in this version; use engine = reference"
        )
    if name != "reference":
        raise ConfigError(f"there is no engine {name!r}; use engine = reference")


def open_engine(name: str) -> EngineFactory:
    """Return the factory of the engine called *name*.

    Raises:
        ConfigError: if there is no such engine in this version.
    """
    check_engine(name)
    from meshnode.dataplane.reference import ReferenceFactory

    return ReferenceFactory()
