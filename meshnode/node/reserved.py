"""What a network has to itself on its host: a routing table, and a mark."""

import zlib
from typing import Final

from meshnode.manage.config_values import NetworkConfig

_FIRST_TABLE: Final = 10_900
_TABLES: Final = 90
_MARK: Final = 0x6D6E
"""One for all networks: no outer packet of any shall take a route into another."""

_FIRST_STEERING_TABLE: Final = 11_000
_STEERING_MARK: Final = 0x6D730000


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


def steering_tables_of(network: str) -> tuple[int, int]:
    """Return the tables of what is steered: into the tunnel, and to this host."""
    first = _FIRST_STEERING_TABLE + 2 * (zlib.crc32(network.encode()) % _TABLES)
    return first, first + 1


def steering_mark_of(network: str) -> int:
    """Return the first of the 256 marks of what a network steers."""
    return _STEERING_MARK | zlib.crc32(network.encode()) % _TABLES << 8
