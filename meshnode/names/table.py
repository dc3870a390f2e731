"""Who has which name: a snapshot of one network, as it goes from process to process.

Control makes a table when the membership changes, and whoever answers for names reads
it whole: half a table can never be seen. Ten thousand members are some 400 KB.
"""

import ipaddress
import zlib
from bisect import bisect_left
from collections.abc import Iterable
from typing import Final

from meshnode.codec.names import check_label
from meshnode.codec.strict import PREFIX, Layout, label, octets
from meshnode.errors import CodecError, ConfigError
from meshnode.types import Prefix
from meshnode.values import frozen

TOP: Final = "mesh"
"""The name that the names of all networks are below."""

MAX_TABLE_BYTES: Final = 8_000_000
"""A table of 80,000 members whose names are as long as can be."""

_LABEL: Final = 63
_V4: Final = 4
_V6: Final = 16


@frozen
class Member:
    """A member's name, and its overlay addresses as 4 and 16 bytes."""

    name: str
    ipv4: bytes
    ipv6: bytes


@frozen
class _Plain:
    """What a table is on the way: names a line each, addresses one after the other."""

    network: str
    own: str
    cidr: Prefix
    ula: Prefix
    names: bytes
    ipv4: bytes
    ipv6: bytes


_LAYOUT: Final = Layout(
    _Plain,
    *(label(_LABEL), label(_LABEL), PREFIX, PREFIX),
    *[octets(0, MAX_TABLE_BYTES)] * 3,
    max_bytes=MAX_TABLE_BYTES,
)


class NameTable:
    """The members of one network by name and by address; it never changes.

    `serial` is the number of the zone, 0 to 2^32 - 1.

    Args:
        network: the network's name, a label.
        own: the name of the node that answers, a label.
        cidr: the network's IPv4 prefix.
        ula: its IPv6 prefix.
        members: all of them, ourselves included; of two with one name the last counts.
    """

    def __init__(
        self,
        network: str,
        own: str,
        *,
        cidr: Prefix,
        ula: Prefix,
        members: Iterable[Member],
    ) -> None:
        self.network = network
        self.own = own
        self.cidr = cidr
        self.ula = ula
        self._by_name = {member.name: member for member in members}
        known = self._by_name.values()
        self._names = {
            _V4: {member.ipv4: member.name for member in known},
            _V6: {member.ipv6: member.name for member in known},
        }
        self._sorted = {size: sorted(names) for size, names in self._names.items()}
        # Nobody copies the zone, so its number need only be another if the table is.
        spelled = "".join(f"{one.name},{one.ipv4.hex()}," for one in self.members)
        self.serial = zlib.crc32(spelled.encode())

    @property
    def domain(self) -> str:
        """The name that the members' names are below, such as `home.mesh`."""
        return f"{self.network}.{TOP}"

    @property
    def members(self) -> tuple[Member, ...]:
        """All members, by name."""
        return tuple(self._by_name[name] for name in sorted(self._by_name))

    def member(self, name: str) -> Member | None:
        """Return the member with this name, in lower case."""
        return self._by_name.get(name)

    def name_of(self, address: bytes) -> str | None:
        """Return whose overlay address this is, 4 or 16 bytes."""
        return self._names[len(address)].get(address)

    def has_between(self, first: bytes, last: bytes) -> bool:
        """Whether a member's address is in this range; both ends have 4 or 16 bytes."""
        addresses = self._sorted[len(first)]
        at = bisect_left(addresses, first)
        return at < len(addresses) and addresses[at] <= last

    def holds(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
        """Whether *address* is one of the network's."""
        prefix = self.cidr if address.version == 4 else self.ula
        bits = address.max_prefixlen - prefix.length
        return int(address) >> bits == prefix.network >> bits

    def serialise(self) -> bytes:
        """Return the bytes of the table; equal tables have equal bytes.

        Raises:
            CodecError: if it is longer than `MAX_TABLE_BYTES`.
        """
        members = self.members
        return _LAYOUT.encode(
            _Plain(
                network=self.network,
                own=self.own,
                cidr=self.cidr,
                ula=self.ula,
                names="\n".join(member.name for member in members).encode("ascii"),
                ipv4=b"".join(member.ipv4 for member in members),
                ipv6=b"".join(member.ipv6 for member in members),
            )
        )


def parse_table(data: bytes) -> NameTable:
    """Return the table that was serialised to *data*.

    Raises:
        CodecError: if it is none.
    """
    plain = _LAYOUT.decode(data)
    try:
        names = plain.names.decode("ascii").split("\n") if plain.names else []
        for name in names:
            check_label(name, "a member's name")
    except (UnicodeDecodeError, ConfigError) as error:
        raise CodecError(f"a table of names: {error}") from None
    count = len(names)
    if (len(plain.ipv4), len(plain.ipv6)) != (count * _V4, count * _V6):
        raise CodecError("a table of names: not an address for every name")
    if names != sorted(set(names)):
        raise CodecError("a table of names: not in order")
    if (plain.cidr.version, plain.ula.version) != (4, 6):
        raise CodecError("a table of names: not the prefixes of a network")
    members = [
        Member(
            name,
            plain.ipv4[at * _V4 : (at + 1) * _V4],
            plain.ipv6[at * _V6 : (at + 1) * _V6],
        )
        for at, name in enumerate(names)
    ]
    return NameTable(
        plain.network, plain.own, cidr=plain.cidr, ula=plain.ula, members=members
    )
