"""Carry out a `SteerPlan`: one nftables table, two routing tables, two rules.

All of it is one change in the journal, written before the first of it is made. The
functions act in the network namespace of the calling thread and take some tens of
milliseconds: run them in a thread beside an event loop.
"""

import errno
import json
from typing import Any, Final

from meshnode.errors import HostError
from meshnode.host import mark_routes, nft, sysctl
from meshnode.host.changes import StopSteering
from meshnode.host.journal import Journal
from meshnode.host.steer_text import (
    Learnt,
    counter_name,
    door_mask,
    learnt_text,
    steer_table_name,
    steer_text,
)
from meshnode.steering import SteerPlan, ViaMesh
from meshnode.values import frozen

_STRICT: Final = "1"
_LOOSE: Final = "2"


@frozen
class Counted:
    """What a rule has met since it is in force: packets sent, and their bytes."""

    packets: int
    bytes: int


class Steerer:
    """Makes the host's steering what the last plan says, for one network.

    *journal* is that of the network's interface; another `Steerer` with the same one
    goes on where this one was.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._loaded: SteerPlan | None = None

    def apply(self, plan: SteerPlan, learnt: Learnt) -> bool:
        """Change what differs from *plan*; False if nothing did.

        Connections that are there keep the way they have. Counters begin anew.

        Args:
            plan: the whole plan.
            learnt: what is known of addresses now; it comes with the table.

        Raises:
            HostError: if nft is missing (ENOENT) or the kernel refuses; the table
                from before is in force then.
        """
        name = steer_table_name(plan.network)
        # Not their texts: a control group may be another one of the same path.
        if plan == self._loaded and nft.has_table(name):
            return False
        nft.require()
        value, mask = door_mask(plan)
        change = StopSteering(
            name, plan.mark, value, mask, plan.tunnel_table, plan.local_table
        )
        if change not in self._journal.pending():
            self._journal.record(change)
        # What is marked must find its way from the first packet.
        mark_routes.route_all_into(plan.interface, plan.tunnel_table)
        mark_routes.route_all_here(plan.local_table)
        for rule in change.rules():
            mark_routes.add_mark_rule(rule)
        if any(isinstance(step.way, ViaMesh) for step in plan.steps):
            _take_answers(plan.interface)
        nft.load(steer_text(plan, learnt))
        self._loaded = plan
        return True

    def withdraw(self) -> None:
        """Undo everything, what another one made, too; raises `HostError`."""
        self._loaded = None
        for change in reversed(self._journal.pending()):
            if isinstance(change, StopSteering):
                change.undo()


def check(plan: SteerPlan) -> list[str]:
    """Return why the kernel would not take *plan*, nothing if it would.

    Raises:
        HostError: if nft is missing.
    """
    nft.require()
    try:
        nft.check(steer_text(plan, {}))
    except HostError as error:
        return [str(error)]
    return []


def learn(network: str, learnt: Learnt) -> None:
    """Let the steps know addresses, for so many seconds from now.

    Raises:
        HostError: if the kernel refuses, as when a set is full or gone.
    """
    if learnt:
        nft.load(learnt_text(network, learnt))


def read_learnt(network: str) -> list[tuple[str, str, int]]:
    """Return domains, addresses and seconds of what the table knows, if there is one.

    That is what a process before this one has learnt.
    """
    table = steer_table_name(network)
    try:
        return parse_learnt(nft.ask(["list", "table", nft.FAMILY, table]))
    except HostError:
        return []


def parse_learnt(reply: str) -> list[tuple[str, str, int]]:
    """Return domains, addresses and seconds from what `nft -j` says of a table.

    Raises:
        HostError: if it is something else.
    """
    try:
        sets = [one["set"] for one in json.loads(reply)["nftables"] if "set" in one]
        return [
            (
                str(one["comment"]),
                str(item["elem"]["val"]),
                int(item["elem"]["expires"]),
            )
            for one in sets
            if "comment" in one
            for item in one.get("elem", ())
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise HostError(
            "nft shows its sets in no form that is known", errno=errno.EPROTO
        ) from error


def read_counters(plan: SteerPlan) -> list[Counted]:
    """Return what each step has met, in their order; raises `HostError`."""
    reply = nft.ask(["list", "counters", "table", nft.FAMILY, _name(plan)])
    return parse_counters(reply, len(plan.steps))


def parse_counters(reply: str, steps: int) -> list[Counted]:
    """Return the counters of so many steps from what `nft -j` says.

    Raises:
        HostError: if it is something else.
    """
    found: dict[str, Counted] = {}
    try:
        objects: list[Any] = json.loads(reply)["nftables"]
        for one in objects:
            if "counter" in one:
                fields = one["counter"]
                counted = Counted(int(fields["packets"]), int(fields["bytes"]))
                found[fields["name"]] = counted
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise HostError(
            "nft shows its counters in no form that is known", errno=errno.EPROTO
        ) from error
    return [found.get(counter_name(index), Counted(0, 0)) for index in range(steps)]


def _name(plan: SteerPlan) -> str:
    return steer_table_name(plan.network)


def _take_answers(interface: str) -> None:
    """Let answers in whose sender the main table has elsewhere.

    The interface is ours, and the setting ends with it.
    """
    key = f"net/ipv4/conf/{interface}/rp_filter"
    strict = (key, "net/ipv4/conf/all/rp_filter")
    if _STRICT in map(sysctl.read, strict) and sysctl.read(key) != _LOOSE:
        sysctl.write(key, _LOOSE)
