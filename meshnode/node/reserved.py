"""What a network has to itself on its host: a routing table, and a mark."""

import zlib
from typing import Final

from meshnode.manage.config_values import NetworkConfig

_FIRST_TABLE: Final = 10_900
_TABLES: Final = 90
_MARK: Final = 0x6D6E
"""One for all networks: no outer packet of any shall take a route into another."""


def table_of(network: str, config: NetworkConfig) -> int:
    """Return the routing table of *network*: configured, or drawn from its name."""
    if config.table is not None:
        return config.table
    return _FIRST_TABLE + zlib.crc32(network.encode()) % _TABLES


def fwmark_of(config: NetworkConfig) -> int:
    """Return the mark of a network's outer packets."""
    if config.fwmark is not None:
        return config.fwmark
    return _MARK
