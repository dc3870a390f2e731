"""Names of addresses: `in-addr.arpa` and `ip6.arpa` (RFC 1035, 3.5; RFC 3596, 2.5).

A label stands for a step of an address, of 8 bits in IPv4 and 4 in IPv6. A prefix
that ends within a step is several zones, at most 128.
"""

import ipaddress
from collections.abc import Sequence
from typing import Final

from meshnode.types import Prefix
from meshnode.values import frozen

_ROOTS: Final = {4: (b"in-addr", b"arpa"), 6: (b"ip6", b"arpa")}
_STEP: Final = {4: 8, 6: 4}
_WIDTH: Final = {4: 32, 6: 128}
_NIBBLES: Final = frozenset(b"%x" % value for value in range(16))


@frozen
class Place:
    """What a reverse name stands for: the first *bits* of an address, as a number.

    `is_sound` is False if there is more in the name than that, which no address has.
    """

    version: int
    value: int
    bits: int
    is_sound: bool

    @property
    def first(self) -> bytes:
        """The lowest address that begins so."""
        width = _WIDTH[self.version]
        return (self.value << (width - self.bits)).to_bytes(width // 8, "big")

    @property
    def last(self) -> bytes:
        """The highest address that begins so."""
        width = _WIDTH[self.version]
        top = ((self.value + 1) << (width - self.bits)) - 1
        return top.to_bytes(width // 8, "big")


def read_reverse(labels: Sequence[bytes]) -> Place | None:
    """Return what the name stands for, None if it is no reverse name.

    Args:
        labels: those of the name in lower case, without the root's.
    """
    for version, root in _ROOTS.items():
        if tuple(labels[-2:]) != root:
            continue
        value = bits = 0
        for label in reversed(labels[:-2]):
            step = _read_step(label, version)
            if step is None or bits == _WIDTH[version]:
                return Place(version, value, bits, is_sound=False)
            value = value << _STEP[version] | step
            bits += _STEP[version]
        return Place(version, value, bits, is_sound=True)
    return None


def zone_depth(place: Place, prefix: Prefix) -> int | None:
    """Return how many labels the zone of *prefix* has that *place* is in.

    None if it is in none: outside, or above.
    """
    bits = _zone_bits(prefix)
    if place.version != prefix.version or place.bits < bits:
        return None
    network = prefix.network >> (_WIDTH[prefix.version] - prefix.length)
    if place.value >> (place.bits - prefix.length) != network:
        return None
    return bits // _STEP[prefix.version] + 2


def reverse_zones(prefix: Prefix) -> tuple[str, ...]:
    """Return the zones that together are *prefix*, lowest first, without a last dot."""
    bits, width = _zone_bits(prefix), _WIDTH[prefix.version]
    step = _STEP[prefix.version]
    first = prefix.network >> (width - bits)
    names = []
    for value in range(first, first + (1 << (bits - prefix.length))):
        steps = [value >> at & ((1 << step) - 1) for at in range(0, bits, step)]
        labels = [str(one) if prefix.version == 4 else f"{one:x}" for one in steps]
        root = [label.decode("ascii") for label in _ROOTS[prefix.version]]
        names.append(".".join([*labels, *root]))
    return tuple(names)


def reverse_name(address: bytes) -> str:
    """Return the name of an address of 4 or 16 bytes, without a last dot."""
    return ipaddress.ip_address(address).reverse_pointer


def _zone_bits(prefix: Prefix) -> int:
    step = _STEP[prefix.version]
    return -(-prefix.length // step) * step


def _read_step(label: bytes, version: int) -> int | None:
    """Read one label, in the one spelling that it has."""
    if version == 6:
        return int(label, 16) if label in _NIBBLES else None
    if not label.isdigit() or len(label) > 3 or (label[:1] == b"0" and label != b"0"):
        return None
    return int(label) if int(label) < 256 else None
