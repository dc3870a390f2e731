"""Plain values that travel between the layers: addresses, ciphers, paths, prefixes."""

import enum
import ipaddress

from meshnode.errors import ConfigError
from meshnode.values import frozen


class Cipher(enum.IntEnum):
    """What data is encrypted with; the number is the type of its UDP messages.

    The first is WireGuard's, and every session begins with it.
    """

    CHACHA20_POLY1305 = 4
    AES_256_GCM = 8

    @property
    def label(self) -> str:
        """The name for people, in lower case with dashes."""
        return self.name.lower().replace("_", "-")


@frozen
class Target:
    """Where somebody wants to go: a numeric address or a name, and a port of 0–65535.

    A numeric `host` is in canonical text form, without a zone; a name is as it was
    given, and checked by nobody yet.
    """

    host: str
    port: int

    @property
    def address(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """The host if it is numeric, None if it is a name."""
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@frozen
class Endpoint:
    """An underlay UDP address: numeric host, port 0–65535, IPv6 zone index.

    `host` is in canonical text form (RFC 5952 for IPv6); never a name.
    """

    host: str
    port: int
    scope_id: int = 0

    @property
    def version(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.host else 4

    @classmethod
    def parse(cls, text: str) -> "Endpoint":
        """Read `1.2.3.4:5` or `[v6%zone]:5`; the zone must be a number.

        Raises:
            ConfigError: if the host is not numeric or the port not 1–65535.
        """
        host, colon, port_text = text.rpartition(":")
        bracketed = host.startswith("[") and host.endswith("]")
        if bracketed:
            host = host[1:-1]
        try:
            if not colon or not port_text.isascii() or not port_text.isdigit():
                raise ValueError
            port = int(port_text)
            host, percent, zone = host.partition("%")
            address = ipaddress.ip_address(host)
            scope_id = int(zone) if percent else 0
            if percent and not (zone.isascii() and zone.isdigit()):
                raise ValueError
            if not 1 <= port <= 65535 or bracketed != (address.version == 6):
                raise ValueError
            if scope_id >= 2**32 or (percent and address.version == 4):
                raise ValueError
        except ValueError:
            raise ConfigError(
                f"endpoint {text!r} is not ADDRESS:PORT with a numeric address"
            ) from None
        return cls(str(address), port, scope_id)

    def __str__(self) -> str:
        zone = f"%{self.scope_id}" if self.scope_id else ""
        if self.version == 6:
            return f"[{self.host}{zone}]:{self.port}"
        return f"{self.host}:{self.port}"


@frozen
class Source:
    """A local address a datagram arrived on, kept to answer from it.

    `interface` is the kernel's interface index, 0 for any. `port` is that of a socket
    beside the node's own, which a search for a way through a NAT has opened; 0 for the
    node's.
    """

    host: str
    interface: int = 0
    port: int = 0


@frozen
class Path:
    """Where a peer is: its endpoint, and the local address to speak from.

    An immutable value, swapped whole, so a datagram can never go to half of a
    new endpoint.
    """

    remote: Endpoint
    source: Source | None = None

    @property
    def port(self) -> int:
        """Our port, if it is that of a socket beside the node's own; else 0."""
        return 0 if self.source is None else self.source.port


@frozen
class Datagram:
    """One UDP payload and the path it takes or took.

    `hops` is how many routers it may come to, 1 to 255; 0 for as many as usual.
    """

    data: bytes
    path: Path
    hops: int = 0


@frozen
class Prefix:
    """An IP prefix: version 4 or 6, network as an integer, length in bits.

    Host bits of `network` are zero.
    """

    version: int
    network: int
    length: int

    @classmethod
    def parse(cls, text: str) -> "Prefix":
        """Read `address/length`; host bits are masked, a bare address is a host.

        Raises:
            ConfigError: if it is neither.
        """
        try:
            net = ipaddress.ip_network(text, strict=False)
            if "%" in text:
                raise ValueError
        except ValueError:
            raise ConfigError(f"{text!r} is not an IP prefix") from None
        return cls(net.version, int(net.network_address), net.prefixlen)

    def __str__(self) -> str:
        address: ipaddress.IPv4Address | ipaddress.IPv6Address
        if self.version == 4:
            address = ipaddress.IPv4Address(self.network)
        else:
            address = ipaddress.IPv6Address(self.network)
        return f"{address}/{self.length}"
