"""Carry out a `HostPlan`, and take it back.

Every change that outlives the interface is journalled before it is made; addresses
and routes through the interface go with it. Only CAP_NET_ADMIN is needed. All of it
acts in the network namespace of the calling thread, and takes some tens of
milliseconds: run it in a thread beside an event loop.
"""

import errno
from collections.abc import Collection
from dataclasses import replace
from typing import Protocol

from meshnode.errors import HostError
from meshnode.host import netlink, nft, sysctl
from meshnode.host.changes import (
    Change,
    DeleteRule,
    DeleteTable,
    FlushRouteTable,
    RestoreSysctl,
)
from meshnode.host.firewall import firewall_text, needs_rules, table_name
from meshnode.host.ipforward import forwarding_changes, host_forwards
from meshnode.host.lock import Lock, has_lock, lift_lock, put_lock
from meshnode.host.routing import (
    DEFAULT_ROUTES,
    Conflict,
    apply_routes,
    connected_prefixes,
    narrow_prefixes,
    sized_prefixes,
)
from meshnode.hostplan import FullTunnel, HostPlan

_VALID_MARK = "net/ipv4/conf/all/src_valid_mark"
_OURS = (DeleteTable, DeleteRule, FlushRouteTable, RestoreSysctl)


class ChangeLog(Protocol):
    """Where changes are noted before they are made: a `Journal` on disk, or less."""

    def record(self, change: Change) -> None:
        """Note *change*."""

    def pending(self) -> list[Change]:
        """Return what was noted, oldest first."""


class Planner(Protocol):
    """Carries out plans: here, or in another network namespace."""

    def apply(
        self, plan: HostPlan, *, endpoints: Collection[str] = ()
    ) -> list[Conflict]:
        """Change what differs from *plan*; raises `HostError`."""


class HostPlanner:
    """Makes the host what the last plan says, for one network.

    *journal* is that of the network's interface; a planner that follows another one
    (control restarted) with the same journal goes on where that one was.
    """

    def __init__(self, journal: ChangeLog) -> None:
        self._journal = journal
        self._loaded = ""
        self._locked: Lock | None = None
        self._may_be_locked = True
        self._may_accept_marked = True
        self._plan: HostPlan | None = None
        # Until a plan says no: whoever was before us may have turned it on. After
        # that an administrator may, and it is not ours to turn off.
        self._may_forward = True

    def apply(
        self, plan: HostPlan, *, endpoints: Collection[str] = ()
    ) -> list[Conflict]:
        """Change what differs from *plan*; return what this host cannot take of it.

        Args:
            plan: the whole plan.
            endpoints: numeric underlay addresses of our peers, which no accepted
                prefix may cover.

        Raises:
            HostError: if the kernel refuses, the interface is gone (ENODEV), or nft
                is missing (ENOENT) and the plan needs it: then nothing was opened,
                and the rules from before are in force.
        """
        self._plan = plan
        if plan.full_tunnel is not None and plan.full_tunnel.kill_switch:
            # First of all: nothing may slip out while the rest changes.
            self._lock(plan, plan.full_tunnel)
        if not plan.forwards and self._may_forward:
            self._undo(RestoreSysctl)
        self._may_forward = plan.forwards
        conflicts = self._apply_firewall(plan)
        if plan.full_tunnel is not None:
            conflicts += self._accept_marked()
            prefixes = [*DEFAULT_ROUTES]
        else:
            prefixes = []
        prefixes += [*plan.routes, *sized_prefixes(plan), *narrow_prefixes(plan)]
        if prefixes:
            self._record(FlushRouteTable(plan.table))
            for version in sorted({prefix.version for prefix in prefixes}):
                self._record(DeleteRule(version, plan.fwmark, plan.table))
        conflicts += apply_routes(plan, endpoints=endpoints)
        if plan.forwards:
            conflicts += self._forward()
        if plan.full_tunnel is None:
            self._forget_marked()
        if plan.full_tunnel is None or not plan.full_tunnel.kill_switch:
            self._unlock(plan)
        return conflicts

    def withdraw(self) -> None:
        """Undo everything; what another planner of the journal did, too.

        Raises:
            HostError: if something cannot be undone, after trying all of it.
        """
        failures = []
        for change in self._pending(_OURS):
            try:
                change.undo()
            except HostError as error:
                failures.append(str(error))
        try:
            if self._plan is not None:
                _remove_addresses(self._plan)
        except HostError as error:
            failures.append(str(error))
        self._loaded = ""
        self._plan = None
        self._may_forward = True
        self._may_accept_marked = True
        if failures:
            raise HostError(f"not undone: {'; '.join(failures)}")

    def _apply_firewall(self, plan: HostPlan) -> list[Conflict]:
        # A host that forwards for others would forward for the network, too.
        guarded = replace(plan, forwards=plan.forwards or host_forwards())
        is_exit = any(not one.prefix.length for one in plan.announced)
        near = connected_prefixes(plan.interface) if is_exit else []
        text = firewall_text(guarded, near=near)
        name = table_name(plan.network)
        try:
            if not text:
                self._undo(DeleteTable)
            elif text != self._loaded or not nft.has_table(name):
                nft.require()
                self._record(DeleteTable(name))
                nft.load(text)
        except HostError as error:
            if error.errno != errno.ENOENT or needs_rules(plan):
                raise
            return [Conflict(None, f"overlay addresses are not guarded: {error}")]
        self._loaded = text
        return []

    def _lock(self, plan: HostPlan, full: FullTunnel) -> None:
        lock = Lock(plan.network, plan.interface, plan.fwmark, full.lan)
        if lock != self._locked or not has_lock(plan.network):
            put_lock(lock)
            self._locked, self._may_be_locked = lock, True

    def _unlock(self, plan: HostPlan) -> None:
        """Take the kill switch away, last of all, and once: it may be others' then."""
        if not self._may_be_locked:
            return
        try:
            lift_lock(plan.network)
        except HostError as error:
            if error.errno != errno.ENOENT:  # there can be none without nft
                raise
        self._locked, self._may_be_locked = None, False

    def _accept_marked(self) -> list[Conflict]:
        """Let the kernel look for the way back of what comes in by its mark."""
        change = RestoreSysctl(_VALID_MARK, "0", "1")
        try:
            if sysctl.read(_VALID_MARK) == "0":
                self._record(change)
                sysctl.write(change.key, change.ours)
                self._may_accept_marked = True
        except HostError as error:
            return [Conflict(None, f"strict rp_filter would drop packets: {error}")]
        return []

    def _forget_marked(self) -> None:
        if self._may_accept_marked:
            for change in self._pending((RestoreSysctl,)):
                if isinstance(change, RestoreSysctl) and change.key == _VALID_MARK:
                    change.undo()
        self._may_accept_marked = False

    def _forward(self) -> list[Conflict]:
        try:
            for change in forwarding_changes():
                self._record(change)
                sysctl.write(change.key, change.ours)
        except HostError as error:
            return [Conflict(None, f"nothing is forwarded: {error}")]
        return []

    def _record(self, change: Change) -> None:
        """Journal a change, once."""
        if change not in self._journal.pending():
            self._journal.record(change)

    def _undo(self, *kinds: type[Change]) -> None:
        for change in self._pending(kinds):
            change.undo()

    def _pending(self, kinds: tuple[type[Change], ...]) -> list[Change]:
        """Return the journalled changes of these kinds, newest first."""
        pending = reversed(self._journal.pending())
        return [change for change in pending if isinstance(change, kinds)]


def _remove_addresses(plan: HostPlan) -> None:
    link = netlink.link_by_name(plan.interface)
    if link is not None:
        for address in plan.addresses:
            netlink.delete_address(link.index, address)
