"""Real nodes in namespaces behind every kind of NAT, and how each pair gets together.

    with Lab() as lab, running(lab, hosts_of(KINDS, 3)) as grid:
        cells = grid.play([(NatKind.SYMMETRIC, NatKind.PORT_RESTRICTED)])

One mesh serves all pairs. Its members are enrolled once, and its nodes stay in the
foreground. What a cell says is what a user could see: the answers to a ping, and the
paths that the node names.
"""

import json
import re
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meshnode.manage.api_client import NotRunningError, call
from meshnode.manage.paths import Directories
from meshnode.simulation.grid_cells import Cell, Way
from meshnode.simulation.nat_kinds import NatKind
from topology.build import Underlay, build, nat_router
from topology.hosts import Lab, wait_until
from topology.mesh import (
    LISTEN_PORT,
    START_TIMEOUT,
    Mesh,
    environment,
    installed_command,
)
from topology.nat_grid_plan import HUBS, NETWORK, blocked_boxes, describe
from topology.processes import POLL, LabError, Process

PATIENCE = 20.0
"""Seconds a direct path may take: the longest search takes 6, and the next attempt
begins 10 s after one in vain."""

SETTLING = 15.0
"""Seconds after all have heard of each other: then they know their NATs, too."""

_AT_ONCE = 4
_STAYING = 1.0
_PING_EVERY = 0.1
_LOOK_EVERY = 0.03
_END_WITHIN = 60.0
_ANSWER = re.compile(r"^\[(\d+\.\d+)\].* icmp_seq=(\d+) .*time=([\d.]+) ms", re.M)
_WAYS = {"direct": Way.DIRECT, "lan": Way.DIRECT, "relayed": Way.RELAYED}
_WAYS["tls"] = Way.TLS


@dataclass(frozen=True, slots=True)
class Answers:
    """What a ping saw: wall seconds of the first packet, seconds to its answer.

    `round_trip` is that of the last answer.
    """

    began_at: float
    answered: float
    round_trip: float


@dataclass(slots=True)
class _Run:
    """One pair at work."""

    kinds: tuple[NatKind, NatKind]
    names: tuple[str, str]
    ping: Process
    began_at: float
    direct_at: float | None = None


class Grid:
    """The mesh of the grid, and what is known of its members; see `running`."""

    def __init__(self, underlay: Underlay, hosts: dict[NatKind, list[str]]) -> None:
        self.underlay = underlay
        self._hosts = hosts
        self._lab = underlay.lab
        self._mesh = Mesh(underlay)
        self._met: set[frozenset[str]] = set()
        self._nodes: dict[str, Process] = {}
        self.explained: list[str] = []
        """What both nodes said of pairs that stayed on a relay for no good reason."""

    @property
    def members(self) -> list[str]:
        """The names of all hosts but the hubs."""
        return [name for names in self._hosts.values() for name in names]

    # --- beginning and end ---

    def start(self) -> None:
        """Found the mesh, enrol everybody, block who is blocked, and let it settle.

        Raises:
            LabError: if a node does not get there.
        """
        mesh, count = self._mesh, len(self.members)
        address = self.underlay.ports[HUBS[0], "internet"].v4
        mesh.run(
            HUBS[0],
            *("network", "create", NETWORK, "--cidr", "10.77.0.0/16"),
            *("--name", HUBS[0], "--listen-port", str(LISTEN_PORT)),
            *("--advertise", f"{address}:{LISTEN_PORT}", "--no-passphrase"),
        )
        self._run(HUBS[0])
        self._enrol(HUBS[1:], self._invite(len(HUBS), "rendezvous", "relay"))
        self._enrol(self.members, self._invite(count, "exit"))
        for box in blocked_boxes(self.underlay.description, self._hosts):
            assert box.nat is not None
            host = self.underlay.hosts[box.name]
            nat_router(self.underlay.description, host, box.nat)
            host.run("conntrack -F")
        wait_until(
            lambda: all(len(self._peers(name)) >= count for name in HUBS),
            "all have heard of each other",
            timeout=START_TIMEOUT,
        )
        time.sleep(SETTLING)

    def stop(self) -> None:
        """End all nodes at once, and wait until they have undone what they did."""
        for process in self._nodes.values():
            process.signal(signal.SIGTERM)
        end = time.monotonic() + _END_WITHIN
        for process in self._nodes.values():
            process.wait(max(POLL, end - time.monotonic()))

    # --- pairs ---

    def play(
        self, pairs: Sequence[tuple[NatKind, NatKind]], *, patience: float = PATIENCE
    ) -> list[Cell]:
        """Let a host behind the first kind of each pair speak to one of the second.

        All pairs at once. It takes *patience* seconds where a direct path is possible
        and does not come, and a few where none is.

        Raises:
            LabError: if a node does not run any more.
        """
        runs = [self._begin(kinds) for kinds in pairs]
        wanted = [run for run in runs if Cell(*run.kinds).can_be_direct]
        end = time.monotonic() + patience
        while time.monotonic() < end and any(run.direct_at is None for run in wanted):
            for run in runs:
                if run.direct_at is None and self._way(run) is Way.DIRECT:
                    run.direct_at = time.time()
            time.sleep(_LOOK_EVERY)
        time.sleep(_STAYING)
        return [self._end(run) for run in runs]

    def _begin(self, kinds: tuple[NatKind, NatKind]) -> _Run:
        names = self._choose(kinds)
        self._met.add(frozenset(names))
        address = str(self._mesh.addresses(names[1])[0])
        words = ["ping", "-n", "-D", "-i", f"{_PING_EVERY:g}", address]
        ping = self._mesh.host(names[0]).start(words)
        return _Run(kinds, names, ping, time.time())

    def _end(self, run: _Run) -> Cell:
        run.ping.signal(signal.SIGINT)
        run.ping.wait()
        if Cell(*run.kinds).can_be_direct and self._way(run) is not Way.DIRECT:
            self._explain(run)
        answers, direct = read_answers(run.ping.output), None
        began_at = answers.began_at if answers else run.began_at
        if run.direct_at is not None:
            direct = max(0.0, run.direct_at - began_at)
        return Cell(
            *run.kinds,
            way=self._way(run) if answers else Way.NONE,
            answered=answers.answered if answers else None,
            direct=direct,
            round_trip=answers.round_trip if answers else None,
        )

    def _choose(self, kinds: tuple[NatKind, NatKind]) -> tuple[str, str]:
        """Choose two hosts that never met, strangers if there are any."""
        found = [
            (one, other)
            for one in self._hosts[kinds[0]]
            for other in self._hosts[kinds[1]]
            if one != other and frozenset((one, other)) not in self._met
        ]
        if not found:
            raise LabError(
                f"every {kinds[0].value} host has met every {kinds[1].value} host: "
                "play fewer rounds, or have more of a kind"
            )
        return min(found, key=lambda names: self._acquaintance(*names))

    def _acquaintance(self, one: str, other: str) -> int:
        """Return how many of two nodes have a session with the other."""
        sides = ((one, other), (other, one))
        return sum(bool(self._peer(*side).get("hasSession")) for side in sides)

    def _way(self, run: _Run) -> Way:
        path = self._peer(*run.names).get("path", {})
        way = _WAYS.get(path.get("kind", ""), Way.NONE)
        # Where UDP is blocked, it is TLS that leads to the relay.
        is_by_tls = way is Way.RELAYED and NatKind.BLOCKED in run.kinds
        return Way.TLS if is_by_tls else way

    def _explain(self, run: _Run) -> None:
        for name, other in (run.names, run.names[::-1]):
            told = {
                "netcheck": self._ask(name, "netcheck"),
                "why": self._ask(name, "why", peer=other),
                "drops": self._ask(name, "status").get("drops"),
            }
            self.explained.append(f"{name} of {other}: {json.dumps(told)}")

    # --- nodes ---

    def _invite(self, count: int, *roles: str) -> str:
        words = ["invite", "-n", NETWORK, "--reusable", str(count)]
        for role in roles:
            words += ["--role", role]
        return self._mesh.run(HUBS[0], *words).stdout.strip()

    def _enrol(self, names: Sequence[str], token: str) -> None:
        """Let hosts join, a few at a time, and start their nodes."""
        command = [*installed_command(), "join", "--no-up"]
        command += ["--listen-port", str(LISTEN_PORT)]
        for first in range(0, len(names), _AT_ONCE):
            joining = []
            for name in names[first : first + _AT_ONCE]:
                variables = {**self._variables(name), "MESHNODE_INVITE": token}
                host = self._mesh.host(name)
                words = [*command, "--name", name]
                joining.append((name, host.start(words, environment=variables)))
            for name, process in joining:
                if process.wait(START_TIMEOUT):
                    raise LabError(f"{name} does not join:\n{process.output}")
            for name, _ in joining:
                self._run(name)

    def _run(self, name: str) -> None:
        process = self._mesh.host(name).start(
            [*installed_command(), "up", NETWORK, "--foreground"],
            environment=self._variables(name),
        )
        self._nodes[name] = process

        def is_up() -> bool:
            if not process.is_running:
                raise LabError(f"{name} ended at once:\n{process.output}")
            return bool(self._mesh.addresses(name))

        wait_until(is_up, f"{name} is up", timeout=START_TIMEOUT)

    def _variables(self, name: str) -> dict[str, str]:
        variables = environment(self._lab.directory, name)
        for path in variables.values():
            Path(path).mkdir(mode=0o700, parents=True, exist_ok=True)
        return variables

    def _peers(self, name: str) -> list[dict[str, Any]]:
        """Return what a node says of the other members."""
        peers: list[dict[str, Any]] = self._ask(name, "peers")["peers"]
        return peers

    def _ask(self, name: str, question: str, **details: Any) -> dict[str, Any]:
        directories = Directories.from_environment(self._variables(name))
        try:
            return call(directories, NETWORK, question, **details)
        except NotRunningError as error:
            output = self._nodes[name].output
            raise LabError(f"{name} does not run: {error}\n{output}") from None

    def _peer(self, name: str, other: str) -> dict[str, Any]:
        """Return what a node says of one other member, nothing if it knows none."""
        found = [peer for peer in self._peers(name) if peer["name"] == other]
        return found[0] if found else {}


@contextmanager
def running(lab: Lab, hosts: dict[NatKind, list[str]]) -> Iterator[Grid]:
    """Build the network of *hosts* in *lab*, run its nodes, and end them."""
    grid = Grid(build(lab, describe(hosts)), hosts)
    try:
        grid.start()
        yield grid
    finally:
        grid.stop()


def read_answers(output: str) -> Answers | None:
    """Read what `ping -D` wrote, None if nothing was answered.

    The first packet to be answered need not be the first that was sent; how long it
    took then counts from the first that was sent.
    """
    answers = [
        (float(at), int(number), float(milliseconds) / 1000)
        for at, number, milliseconds in _ANSWER.findall(output)
    ]
    if not answers:
        return None
    at, number, took = min(answers)
    before = (number - 1) * _PING_EVERY
    return Answers(at - took - before, before + took, max(answers)[2])
