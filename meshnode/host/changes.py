"""The changes a node makes to its host, as values that can be taken back.

Each is a frozen dataclass of plain strings and integers, so that it can be written to
the journal before it is made. `undo` is idempotent and touches only what is
recognisably ours: a socket nobody answers, an address of the very interface, a route
with our mark.
"""

import errno
import os
import socket
import stat
from dataclasses import asdict
from typing import TYPE_CHECKING

from meshnode.errors import HostError
from meshnode.types import Prefix
from meshnode.values import frozen

if TYPE_CHECKING:
    from meshnode.host.mark_routes import MarkRule


@frozen
class RemoveSocket:
    """We bind a Unix socket at *path*.

    It is removed only if nobody answers there, so one that somebody else has bound
    since is safe, and ours must be closed first.
    """

    path: str

    def undo(self) -> str | None:
        """Remove the socket file."""
        try:
            if not stat.S_ISSOCK(os.lstat(self.path).st_mode) or _answers(self.path):
                return None
            os.unlink(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise HostError(
                f"cannot remove {self.path}: {error.strerror}",
                errno=error.errno or errno.EIO,
            ) from error
        return f"removed the socket {self.path}"


@frozen
class DeleteAddress:
    """We give the interface *name*, which has *index*, an address."""

    name: str
    index: int
    address: str

    def undo(self) -> str | None:
        """Take the address away, if the interface is still the one meant."""
        from meshnode.host import netlink

        link = netlink.link_by_name(self.name)
        if link is None or link.index != self.index:
            return None
        if not netlink.delete_address(self.index, self.address):
            return None
        return f"deleted the address {self.address} of {self.name}"


@frozen
class DeleteRoute:
    """We route *prefix* to the interface with *index*, in *table*, under our mark."""

    prefix: str
    index: int
    table: int

    def undo(self) -> str | None:
        """Delete the route, if there is one with our mark."""
        from meshnode.host import netlink

        prefix = Prefix.parse(self.prefix)
        if not netlink.delete_route(prefix, self.index, table=self.table):
            return None
        return f"deleted the route {self.prefix}"


@frozen
class FlushRouteTable:
    """We put routes with our mark into a routing table of our own."""

    table: int

    def undo(self) -> str | None:
        """Delete what carries our mark in the table."""
        from meshnode.host import netlink

        ours = [
            route
            for route in netlink.routes_of(self.table)
            if route.protocol == netlink.ROUTE_PROTOCOL
        ]
        if not ours:
            return None
        netlink.change_routes(self.table, delete=ours, add=())
        return f"emptied the routing table {self.table}"


@frozen
class DeleteRule:
    """We let packets without the mark *fwmark* look into *table*; *version* is 4 or 6.

    The rule itself carries our protocol number.
    """

    version: int
    fwmark: int
    table: int

    def undo(self) -> str | None:
        """Delete the rule."""
        from meshnode.host import netlink

        if not netlink.delete_rule(netlink.Rule(self.version, self.fwmark, self.table)):
            return None
        return f"deleted the IPv{self.version} rule to the routing table {self.table}"


@frozen
class DeleteTable:
    """We make the nftables table *name*, of the family inet."""

    name: str

    def undo(self) -> str | None:
        """Delete the table with all it holds."""
        from meshnode.host import nft

        return f"deleted the table {self.name}" if nft.delete_table(self.name) else None


@frozen
class StopSteering:
    """We steer traffic: the nftables table *name*, and marks that routes know.

    *tunnel_mark* leads to *tunnel_table*; *door_mark*, in the bits of *door_mask*, to
    *local_table*. Both tables are our own.
    """

    name: str
    tunnel_mark: int
    door_mark: int
    door_mask: int
    tunnel_table: int
    local_table: int

    def rules(self) -> "tuple[MarkRule, MarkRule]":
        """Return the routing rules."""
        from meshnode.host.mark_routes import MarkRule

        return (
            MarkRule(self.tunnel_mark, 2**32 - 1, self.tunnel_table),
            MarkRule(self.door_mark, self.door_mask, self.local_table),
        )

    def undo(self) -> str | None:
        """Delete the table, so that nothing is marked any more; then the ways."""
        from meshnode.host import mark_routes, nft

        found = nft.delete_table(self.name)
        for rule in self.rules():
            found |= mark_routes.delete_mark_rule(rule)
        for table in (self.tunnel_table, self.local_table):
            found |= mark_routes.empty_table(table)
        return f"stopped steering by the table {self.name}" if found else None


@frozen
class RestoreSysctl:
    """We set the kernel variable *key*, a path below `net/`, from *before* to *ours*.

    Whoever gave it a third value since means it.
    """

    key: str
    before: str
    ours: str

    def undo(self) -> str | None:
        """Give it back the value it had, if it has ours."""
        from meshnode.host import sysctl

        if sysctl.read(self.key) != self.ours:
            return None
        sysctl.write(self.key, self.before)
        return f"set {self.key} to {self.before} again"


@frozen
class RestoreFile:
    """We write *ours* to the file *path*, which holds *before* (all in Latin-1).

    It is written in place, so symbolic links and mounts stay what they are. Without
    *is_there* the file is missing, and made. What is neither ours nor a part of it,
    cut short by our end, somebody else has written since, and means it.
    """

    path: str
    before: str
    ours: str
    is_there: bool

    def undo(self) -> str | None:
        """Give the file back what it held, or remove it."""
        from meshnode.host import textfile

        present = textfile.read(self.path)
        if present is None or not self.ours.startswith(present):
            return None
        if not self.is_there:
            textfile.remove(self.path)
            return f"removed {self.path}"
        if present == self.before:
            return None
        textfile.write(self.path, self.before)
        return f"restored {self.path}"


Change = (
    RemoveSocket
    | DeleteAddress
    | DeleteRoute
    | FlushRouteTable
    | DeleteRule
    | DeleteTable
    | StopSteering
    | RestoreSysctl
    | RestoreFile
)

_KINDS: dict[str, type[Change]] = {
    "socket": RemoveSocket,
    "address": DeleteAddress,
    "route": DeleteRoute,
    "route-table": FlushRouteTable,
    "rule": DeleteRule,
    "nft-table": DeleteTable,
    "steering": StopSteering,
    "sysctl": RestoreSysctl,
    "file": RestoreFile,
}


def serialise_change(change: Change) -> dict[str, object]:
    """Return the journal entry of *change*."""
    kind = next(kind for kind, cls in _KINDS.items() if type(change) is cls)
    return {"change": kind, **asdict(change)}


def parse_change(entry: dict[str, object]) -> Change:
    """Return the change that a journal entry stands for.

    Raises:
        HostError: if this version knows no such change.
    """
    fields = dict(entry)
    cls = _KINDS.get(str(fields.pop("change", None)))
    if cls is None or cls.__annotations__ != {
        name: type(value) for name, value in fields.items()
    }:
        raise HostError(
            f"the journal holds {entry}, of another version: clean up with that one",
            errno=errno.EPROTO,
        )
    return cls(**fields)  # type: ignore[arg-type]  # compared just above


def _answers(path: str) -> bool:
    """Say whether a living process listens on the socket at *path*."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return False
        except OSError as error:
            # Its queue is full, or it is of a kind we never make.
            if error.errno in (errno.EAGAIN, errno.EPROTOTYPE):
                return True
            raise
    return True
