"""systemd-resolved: which names are asked for at which link (org.freedesktop.resolve1).

It keeps a link's settings for as long as the link is there, so they go with the
interface, however the node ends. Every call takes a few milliseconds and blocks: run
it in a thread beside an event loop.
"""

import errno
import ipaddress
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from jeepney import DBusAddress, HeaderFields, MessageType, message_bus
from jeepney.io.blocking import DBusConnection, prep_socket
from jeepney.low_level import Message
from jeepney.wrappers import DBusErrorResponse, new_method_call

from meshnode.errors import HostError
from meshnode.hostplan import Dns

BUS: Final = "/run/dbus/system_bus_socket"
"""Where the bus of the system listens."""

STUB_SERVERS: Final = ("127.0.0.53", "127.0.0.54")
"""Where resolved answers programs that read resolv.conf."""

_NAME: Final = "org.freedesktop.resolve1"
_MANAGER: Final = DBusAddress(
    "/org/freedesktop/resolve1", _NAME, "org.freedesktop.resolve1.Manager"
)
_TIMEOUT: Final = 3.0
_NO_OWNER: Final = (
    "org.freedesktop.DBus.Error.ServiceUnknown",
    "org.freedesktop.DBus.Error.NameHasNoOwner",
)
_NO_LINK: Final = "org.freedesktop.resolve1.NoSuchLink"


def is_running(*, bus: str = BUS) -> bool:
    """Whether resolved is there to be asked."""
    try:
        with _connected(bus) as connection:
            reply = _call(connection, message_bus.NameHasOwner(_NAME))
    except HostError:
        return False
    return bool(reply[0])


def configure_link(index: int, dns: Dns, *, bus: str = BUS) -> None:
    """Let resolved ask at the interface with *index* for what *dns* says.

    Raises:
        HostError: if it does not run (ESRCH), or refuses.
    """
    routed = [(domain, True) for domain in dns.domains]
    if dns.searches and routed:
        routed[0] = (dns.domains[0], False)  # searched, and so asked for, too
    if dns.takes_all:
        routed.append((".", True))
    settings: list[tuple[str, str, Any]] = [
        ("SetLinkDNS", "a(iay)", list(map(_server, dns.servers))),
        ("SetLinkDomains", "a(sb)", routed),
        ("SetLinkDefaultRoute", "b", dns.takes_all),
        # Nobody signs the names of the mesh, and WireGuard carries the questions.
        ("SetLinkDNSSEC", "s", "no"),
        ("SetLinkDNSOverTLS", "s", "no"),
        # Members are found by the names they are certified for, not by shouting.
        ("SetLinkLLMNR", "s", "no"),
        ("SetLinkMulticastDNS", "s", "no"),
    ]
    with _connected(bus) as connection:
        for method, signature, value in settings:
            call = new_method_call(_MANAGER, method, f"i{signature}", (index, value))
            _call(connection, call)


def revert_link(index: int, *, bus: str = BUS) -> None:
    """Let resolved forget what it was told of the interface with *index*.

    It is no error if it does not run or knows no such link.

    Raises:
        HostError: if it refuses.
    """
    try:
        with _connected(bus) as connection:
            _call(connection, new_method_call(_MANAGER, "RevertLink", "i", (index,)))
    except HostError as error:
        if error.errno not in (errno.ESRCH, errno.ENODEV):
            raise


def _server(text: str) -> tuple[int, bytes]:
    address = ipaddress.ip_address(text)
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    return int(family), address.packed


@contextmanager
def _connected(bus: str) -> Iterator[DBusConnection]:
    try:
        stream = prep_socket(bus, timeout=_TIMEOUT)
        try:
            connection = DBusConnection(stream)
        except BaseException:
            stream.close()
            raise
    except (OSError, EOFError, ValueError, DBusErrorResponse) as error:
        raise HostError(
            f"systemd-resolved cannot be asked: no D-Bus at {bus} ({error})",
            errno=errno.ESRCH,
        ) from error
    try:
        yield connection
    finally:
        connection.close()


def _call(connection: DBusConnection, call: Message) -> tuple[Any, ...]:
    method = call.header.fields[HeaderFields.member]
    try:
        reply = connection.send_and_get_reply(call, timeout=_TIMEOUT)
    except (OSError, EOFError, ValueError) as error:
        raise HostError(
            f"systemd-resolved does not answer ({method}: {error})",
            errno=errno.ETIMEDOUT,
        ) from error
    if reply.header.message_type is MessageType.error:
        name = str(reply.header.fields.get(HeaderFields.error_name, ""))
        number = errno.EPERM
        if name in _NO_OWNER:
            number = errno.ESRCH
        elif name == _NO_LINK:
            number = errno.ENODEV
        text = str(reply.body[0]) if reply.body else name
        raise HostError(f"systemd-resolved refuses {method}: {text}", errno=number)
    body: tuple[Any, ...] = reply.body
    return body
