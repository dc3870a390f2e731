"""Ports that are carried between a rootless node's network and its host's: as text.

    tcp:8080:10.77.0.1:80      tcp:[::1]:8080:[fd00::1]:80      udp:5353:53

The first address and port are where connections come in, the second where they go.
"""

import enum
import ipaddress
from typing import Final

from meshnode.errors import UsageError
from meshnode.types import Endpoint
from meshnode.values import frozen

LOOPBACK: Final = "127.0.0.1"
EVERYWHERE: Final = "::"
"""All addresses of both IP versions, where there is IPv6."""

_FORM: Final = "tcp|udp:[ADDRESS:]PORT:[ADDRESS:]PORT"


class Transport(enum.Enum):
    """What is carried."""

    TCP = "tcp"
    UDP = "udp"


class Way(enum.Enum):
    """From where to where: ends are the host's network and the mesh's."""

    INTO = "forward"
    OUT_OF = "publish"


@frozen
class Forward:
    """What comes in at `listen` goes to `target`.

    `listen` is in the network of the host if the `way` is `INTO` the mesh, else in that
    of the mesh; `target` is in the other one.
    """

    way: Way
    transport: Transport
    listen: Endpoint
    target: Endpoint

    @classmethod
    def from_option(cls, way: Way, text: str) -> "Forward":
        """Read what a user wrote.

        Addresses left out are 127.0.0.1, but members come in at all addresses that
        the node has in the mesh.

        Args:
            way: which option it was.
            text: `tcp|udp:[ADDRESS:]PORT:[ADDRESS:]PORT`, IPv6 addresses in brackets.

        Raises:
            UsageError: if it is not written so.
        """
        try:
            name, _, rest = text.partition(":")
            transport = Transport(name)
            first = LOOPBACK if way is Way.INTO else EVERYWHERE
            listen, rest = _take(rest, first)
            target, rest = _take(rest, LOOPBACK)
            if rest or text.endswith(":"):
                raise ValueError
        except ValueError:
            raise UsageError(
                f"{text!r} is not {_FORM}, such as tcp:8080:10.77.0.1:80"
            ) from None
        return cls(way, transport, listen, target)

    @classmethod
    def parse(cls, text: str) -> "Forward":
        """Read what `str` gives.

        Raises:
            ValueError: if it is not that.
        """
        way, _, rest = text.partition("=")
        return cls.from_option(Way(way), rest)

    def __str__(self) -> str:
        ends = f"{self.listen}:{self.target}"
        return f"{self.way.value}={self.transport.value}:{ends}"


def _take(text: str, host: str) -> tuple[Endpoint, str]:
    """Return the endpoint that *text* begins with, at *host* unless it says; the rest.

    Raises:
        ValueError: if it begins with none.
    """
    if text.startswith("["):
        host, bracket, text = text[1:].partition("]:")
        if not bracket or ":" not in host:
            raise ValueError
    elif not text.partition(":")[0].isdigit():
        host, _, text = text.partition(":")
        if ":" in host or not host:
            raise ValueError
    port, _, rest = text.partition(":")
    if not (port.isascii() and port.isdigit()) or not 1 <= int(port) <= 65535:
        raise ValueError
    address = ipaddress.ip_address(host)
    if "%" in host:
        raise ValueError
    return Endpoint(str(address), int(port)), rest
