"""The engines of this version, by name; the choice is explicit and never changed."""

import importlib.util
from typing import Final

from meshnode.crypto.transport import can_use
from meshnode.dataplane.interface import EngineFactory
from meshnode.errors import ConfigError
from meshnode.types import Cipher

MAX_WORKERS: Final = 1
"""Workers of each direction that the fast engine can share sessions between."""

_COMPILED = "meshnode.dataplane.fast.sending"

_FASTER = {"reference": (Cipher.AES_256_GCM,), "fast": (Cipher.AES_256_GCM,)}
"""What each engine is faster with than with ChaCha20-Poly1305, the best first."""


def check_engine(name: str, workers: int = 1) -> None:
    """Raise `ConfigError` if no engine called *name* can run here.

    *workers* is how many of each direction are wanted. For who will not run it: no
    engine is imported.
    """
    if workers > 1 and name != "fast":
        raise ConfigError(
            f"workers = {workers} needs engine = fast: use it, or workers = 1"
        )
    if workers > MAX_WORKERS:
        raise ConfigError(
            f"workers = {workers} is more than this version can run: "
            f"use workers = {MAX_WORKERS}"
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


def preferred_ciphers(name: str) -> tuple[Cipher, ...]:
    """Return the ciphers that the engine *name* is faster with here, best first."""
    return tuple([cipher for cipher in _FASTER[name] if can_use(cipher)])
