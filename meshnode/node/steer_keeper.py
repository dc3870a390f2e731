"""Control's part of steering: rules into plans, doors to exits, names into addresses.

Whatever a rule speaks of may come and go: users, control groups, members. So every few
seconds it is looked at again, if there are rules at all, and what differs is changed.
"""

import logging
import pwd
import socket
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import trio

from meshnode.codec.steer_link import (
    MAX_MESSAGE_BYTES,
    Answer,
    ControlMessage,
    Started,
    WantSocket,
    decode_from_carrier,
    encode,
)
from meshnode.errors import CodecError, ConfigError, HostError
from meshnode.host import steering as host
from meshnode.host.cgroups import find_group
from meshnode.host.channels import discard_messages, recv_with_fds, send_with_fds
from meshnode.host.clock import boottime
from meshnode.host.ipforward import host_forwards
from meshnode.host.journal import Journal
from meshnode.host.transparent import open_answering
from meshnode.node.learnt_names import LearntNames
from meshnode.node.mesh_shell import MeshShell
from meshnode.node.proxy_plan import EXIT_PORT
from meshnode.node.steer_doors import SteerDoors, Upstream
from meshnode.node.steer_plan import Ground, Lookups, make_plan
from meshnode.node.tls_proxy import read_password
from meshnode.steering import (
    Door,
    SteeredFlow,
    SteerPlan,
    SteerRule,
    ViaExit,
    ViaProxy,
    first_match,
    holds,
)
from meshnode.types import Target

LOOK_AGAIN: Final = 5.0
"""Seconds between two looks at what rules speak of."""

_SUBJECT: Final = "steering"
_log = logging.getLogger("meshnode.node")


class SteerKeeper:
    """Keeps the steering of one network as its rules say.

    Args:
        shell: the mesh.
        link: to the process that carries what is steered; ours.
        journal: of the changes of the host.
        ground: what the network's steering stands on.
        rules: those of the configuration.
        want_process: lets the process be started.
    """

    def __init__(
        self,
        shell: MeshShell,
        link: socket.socket,
        journal: Journal,
        ground: Ground,
        rules: Sequence[SteerRule],
        *,
        want_process: Callable[[], None],
    ) -> None:
        self._shell = shell
        self._link = link
        self._ground = ground
        self._rules = tuple(rules)
        self._want_process = want_process
        self._steerer = host.Steerer(journal)
        self._doors = SteerDoors(self._say)
        self._learnt = LearntNames()
        self._plan: SteerPlan | None = None
        self._problems: tuple[str, ...] = ()
        self._has_looked = False
        self._changing = trio.Lock()
        self._may_begin = trio.Event()

    # --- tasks ---

    def begin(self) -> None:
        """The host is ready: interface and routes are there."""
        self._may_begin.set()

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Follow until cancelled; *on_ready* is called when the rules are in force."""
        await self._may_begin.wait()
        try:
            with self._link:
                # What was meant for the control process before us.
                discard_messages(self._link, max_bytes=MAX_MESSAGE_BYTES)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._hear)
                    await self.follow()
                    on_ready()
                    while True:
                        await trio.sleep(LOOK_AGAIN)
                        if self._rules:
                            await self.follow()
        finally:
            self._doors.close()

    async def use(self, rules: Sequence[SteerRule]) -> None:
        """Steer by *rules* from now on; returns when they are in force."""
        self._rules = tuple(rules)
        await self.follow()

    async def follow(self) -> None:
        """Look at everything again, and change what differs; never raises."""
        async with self._changing:
            try:
                if self._rules:
                    await self._apply()
                elif self._plan is not None or not self._has_looked:
                    await self._withdraw()
                self._has_looked = True
            except (HostError, CodecError) as error:
                self._complain((*self._problems, str(error)))

    async def learn(self, name: str, addresses: Collection[str], ttl: int) -> None:
        """Let rules by domain know an answer; returns when its packets will be steered.

        Args:
            name: the name that was asked for.
            addresses: numeric addresses.
            ttl: seconds that the answer may be kept.
        """
        async with self._changing:
            if self._plan is None:
                return
            fresh = self._learnt.learn(
                self._rules, name, addresses, ttl, now=boottime()
            )
            if not fresh:
                return
            try:
                await trio.to_thread.run_sync(host.learn, self._ground.network, fresh)
            except HostError as error:
                # The next look loads all of them again.
                self._complain((*self._problems, f"{name}: {error}"))

    # --- the host ---

    async def _apply(self) -> None:
        rules = self._rules
        lookups = Lookups(_uid_of, find_group, self._doors.door, host_forwards)
        plan, problems = await trio.to_thread.run_sync(
            make_plan, rules, self._ground, lookups
        )
        vias = [rule.via for rule in rules if isinstance(rule.via, ViaExit | ViaProxy)]
        if vias:
            self._want_process()
        more = [text for via in dict.fromkeys(vias) for text in self._lead(via)]
        if self._plan is None:
            await self._adopt_learnt()
        learnt = self._learnt.known(rules, now=boottime())
        if await trio.to_thread.run_sync(self._steerer.apply, plan, learnt):
            _log.info("traffic is steered by %d rules", len(rules))
        self._plan = plan
        self._doors.keep_only(vias)
        self._complain((*problems, *more))

    async def _adopt_learnt(self) -> None:
        """Go on with what a process before us knew of names."""
        network = self._ground.network
        for found in await trio.to_thread.run_sync(host.read_learnt, network):
            self._learnt.adopt(*found, now=boottime())

    async def _withdraw(self) -> None:
        await trio.to_thread.run_sync(self._steerer.withdraw)
        self._plan = None
        self._doors.keep_only(())
        self._complain(())

    def _lead(self, via: ViaExit | ViaProxy) -> list[str]:
        """Tell the process where a door leads; return what is wrong with that."""
        problems = []
        try:
            upstream = self._upstream(via)
        except ConfigError as error:
            # Nothing carries it then, and nothing lets it pass either.
            upstream = Upstream("socks5")
            problems.append(f"{via}: {error}")
        try:
            self._doors.lead(via, upstream)
        except HostError as error:
            problems.append(f"{via}: {error}")
        return problems

    def _upstream(self, via: ViaExit | ViaProxy) -> Upstream:
        if isinstance(via, ViaProxy):
            place = Target(via.host, via.port)
            file = Path(via.password_file) if via.password_file else None
            password = read_password(file)
            return Upstream(via.scheme, (place,), via.user, password)
        member = self._shell.node.membership.by_name(via.name)
        if member is None:
            raise ConfigError("no member is called so; see: meshnode peers")
        if member.key == self._shell.node.key:
            raise ConfigError("it is this node itself: name another")
        hosts = [str(address).partition("/")[0] for address in member.addresses]
        return Upstream("socks5", tuple(Target(host, EXIT_PORT) for host in hosts))

    def _complain(self, problems: tuple[str, ...]) -> None:
        self._problems = problems
        self._shell.complain(_SUBJECT, "; ".join(problems))

    # --- the process ---

    async def _hear(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._link)
            received = recv_with_fds(self._link, max_bytes=MAX_MESSAGE_BYTES)
            if received is None:
                continue
            try:
                match decode_from_carrier(received[0]):
                    case Started():
                        self._doors.forget_told()
                        if self._rules:
                            await self.follow()
                    case WantSocket() as wish:
                        self._open_answering(wish)
            except CodecError as error:
                _log.error("the process that carries sent nonsense: %s", error)
            except HostError as error:
                _log.debug("the process that carries: %s", error)

    def _open_answering(self, wish: WantSocket) -> None:
        try:
            opened = open_answering(wish.version)
        except HostError as error:
            self._say(Answer(wish.number, str(error)), [])
            return
        with opened:
            self._say(Answer(wish.number, ""), [opened.fileno()])

    def _say(self, message: ControlMessage, descriptors: Sequence[int]) -> None:
        if not send_with_fds(self._link, encode(message), list(descriptors)):
            raise HostError("the process that carries does not listen")

    # --- for the API ---

    @property
    def rules(self) -> tuple[SteerRule, ...]:
        """The rules that are in force, or will be in a moment."""
        return self._rules

    @property
    def problems(self) -> tuple[str, ...]:
        """What of the rules means nothing here, or cannot be done."""
        return self._problems

    async def counted(self) -> list[host.Counted]:
        """Return what each rule has met; raises `HostError`."""
        async with self._changing:
            if self._plan is None:
                return []
            return await trio.to_thread.run_sync(host.read_counters, self._plan)

    def learnt(self) -> list[dict[str, int]]:
        """Return for each rule the addresses it knows, and for how many seconds."""
        found: list[dict[str, int]] = [{} for _ in self._rules]
        known = self._learnt.known(self._rules, now=boottime())
        for (index, address), seconds in known.items():
            found[index][address] = seconds
        return found

    async def check(self, rules: Sequence[SteerRule]) -> list[str]:
        """Return what would be wrong with *rules*; nothing is changed.

        Raises:
            HostError: if nft is missing.
        """
        lookups = Lookups(_uid_of, find_group, _any_door, host_forwards)
        plan, problems = await trio.to_thread.run_sync(
            make_plan, rules, self._ground, lookups
        )
        found = list(problems)
        for via in dict.fromkeys(rule.via for rule in rules):
            try:
                if isinstance(via, ViaExit | ViaProxy):
                    self._upstream(via)
            except ConfigError as error:
                found.append(f"{via}: {error}")
        return found + await trio.to_thread.run_sync(host.check, plan)

    def explain(self, flow: SteeredFlow) -> int | None:
        """Return the index of the rule that *flow* meets, None if it meets none."""
        if any(holds(one, flow.destination) for one in self._ground.overlay):
            return None
        address = str(flow.destination).partition("/")[0]
        known = [index for index, one in enumerate(self.learnt()) if address in one]
        return first_match(self._rules, replace(flow, learnt=frozenset(known)))


def _uid_of(user: str) -> int | None:
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        return None


def _any_door(via: ViaExit | ViaProxy) -> Door:
    """Return a door that is like the real one, for a text that is only checked."""
    return Door(1, 1, 1, 1, 1)
