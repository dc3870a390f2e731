"""Hole punching: find a path to a member that no relay is on.

Theory of operation. Who wants a path sends *openers* to where the member may be: pings
of so few hops that they make our NATs expect the member, and die before they reach its
own, which could take them for attacks and then use another port (docs/paths.md). A
`CallMe` goes by the path there is, the relay. The member answers with one and probes
us: at full hops if we opened to where it is, else with openers first. So each NAT has
seen a datagram leave before one comes in. Every ping that opens is answered, and while
an attempt goes on we ping back to where it came from, of which nobody may have known
the port; the address is one that the member told, for others could be victims. A
ping answered from where it was sent, on the socket that sent it, is a path.

A range of ports that is narrow is probed like candidates. Where one NAT gives each
remote another port out of many, `punch_search` looks for it. Where both do, only other
candidates help: mapped ports, the LAN, IPv6.

After a failure the next attempts begin 10 s, 60 s and then every 10 min later, while
the path is wanted; the second after so much silence that a NAT has forgotten what
was in the way. Who is not wanted, nor calls, costs nothing.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from meshnode.codec.messages import CallMe
from meshnode.codec.probes import Probe, ProbeKind
from meshnode.codec.records import Endpoints, NatHint
from meshnode.deadlines import Deadline, DeadlineHeap
from meshnode.mesh.nat64 import behind_nat64
from meshnode.mesh.path_ways import place_of
from meshnode.mesh.ports import Tunnels
from meshnode.mesh.probes import Opened, Probes
from meshnode.mesh.punch_attempt import (
    AFTER_SUCCESS,
    CALL_AGAIN,
    HOLD_OFF,
    LASTS,
    LASTS_SEARCHING,
    MAX_TRIED,
    ROUNDS,
    Attempt,
    How,
    Running,
    Told,
    Tried,
)
from meshnode.mesh.punch_pings import PunchPings
from meshnode.mesh.punch_search import (
    Search,
    Shot,
    is_dependent,
    narrow_ports,
    plan_search,
)
from meshnode.mesh.punch_sockets import SearchSockets, path_by
from meshnode.ports import NEVER, Entropy
from meshnode.types import Datagram, Endpoint, Path
from meshnode.values import frozen

BACK_OFF: Final = (10.0, 60.0, 600.0)
"""Seconds from the end of an attempt in vain to the next, after so many in a row."""

RATE: Final = 200.0
"""New entries of a NAT that we make a second: what is safe in the field."""

MAX_FOUND: Final = 4
"""Paths that one attempt reports."""

MAX_CALLED: Final = 12

_PING_BACK_PAUSE: Final = 0.05


@frozen
class Where:
    """Where we are, as others are told.

    `candidates` are the best first, `seen` is our outer IPv4 endpoint.
    """

    candidates: tuple[Endpoint, ...] = ()
    seen: Endpoint | None = None
    nat: NatHint = NatHint()


@dataclass(slots=True)
class _Member:
    """What outlives an attempt; `failures` are those in a row."""

    is_wanted: bool = False
    failures: int = 0
    not_before: float = NEVER
    running: Running | None = None
    last: tuple[Attempt, ...] = ()
    said: Told | None = None


OnFound = Callable[[bytes, Path, float], None]
"""Take a path to the member with that key, seen at that moment (boottime)."""


class Puncher:
    """Looks for direct paths; members are named by their WireGuard keys.

    Args:
        tunnels: carry calls.
        probes: seals and opens.
        sockets: those beside the node's own.
        send: takes what is to leave.
        where: says where we are.
        recount: asks where our NAT has got to, if it counts; returns whether to wait
            for `go_on` before others are told.
        usable: gives which endpoints that others tell of may be sent to.
        opener_hops: says how far openers go.
        record_of: gives the newest endpoint record of a member at a moment.
        on_found: is told of paths.
        on_heard: is told of paths by which probes came, which may be ways back.
        entropy: for numbers and the order of a search.
        rate: new entries a second that a search may make in NATs.
    """

    def __init__(
        self,
        *,
        tunnels: Tunnels,
        probes: Probes,
        sockets: SearchSockets,
        send: Callable[[Datagram, float], None],
        where: Callable[[], Where],
        recount: Callable[[float], bool],
        usable: Callable[[Iterable[Endpoint]], tuple[Endpoint, ...]],
        opener_hops: Callable[[], int],
        record_of: Callable[[bytes, float], Endpoints | None],
        on_found: OnFound,
        on_heard: OnFound,
        entropy: Entropy,
        rate: float = RATE,
    ) -> None:
        self._usable = usable
        self._opener_hops = opener_hops
        self._nat64: bytes | None = None
        self._sockets = sockets
        self._tunnels = tunnels
        self._probes = probes
        self._send = send
        self._where = where
        self._recount = recount
        self._record_of = record_of
        self._on_found = on_found
        self._on_heard = on_heard
        self._entropy = entropy
        self._rate = rate
        self._members: dict[bytes, _Member] = {}
        # Who is called once our NAT was looked at, or whose call is answered then.
        self._held: dict[bytes, CallMe | None] = {}
        self._pings = PunchPings(probes, send)
        self._deadlines: DeadlineHeap[bytes] = DeadlineHeap()

    # --- what is wanted ---

    def want(self, key: bytes, *, now: float) -> None:
        """Look for a path to the member until one is found, or `stop`."""
        member = self._members.setdefault(key, _Member())
        if member.is_wanted:
            return
        member.is_wanted = True
        running = member.running
        if running is not None and running.is_early:
            running.is_early = False
            running.calls = [now + after for after in CALL_AGAIN]
            self._send_call(key, running, now, is_answer=False)
            self._wake(key, member)
        elif running is None:
            if now >= member.not_before:
                self._call_soon(key, member, now)
            self._wake(key, member)

    def open_early(self, key: bytes, *, now: float) -> int | None:
        """Open to a member to which there is no session yet, if that is of use.

        Return the version of its record by which we did, for `EarlyCall`; None if we
        did not. Where a NAT has to be searched, calls inside the session do better.
        """
        member = self._members.setdefault(key, _Member())
        record = self._record_of(key, now)
        if record is None or not record.probe_key or member.running is not None:
            return None
        if is_dependent(record.nat) or is_dependent(self._where().nat):
            return None
        self._probes.know(key, record.probe_key)
        if now < member.not_before or not self._probes.can_reach(key):
            return None
        running = self._begin(self._draw(), Told.by_record(record), now)
        running.is_early = True
        member.running = running
        self._probe_all(key, running, now)
        self._wake(key, member)
        return record.version

    def receive_early(self, key: bytes, *, is_expected: bool, now: float) -> None:
        """Take an early call of the member, whose record is known.

        *is_expected* is whether its NATs let in what comes from where we say we are.
        """
        member = self._members.setdefault(key, _Member())
        record = self._record_of(key, now)
        if record is None or member.running is not None:
            return
        self._probes.know(key, record.probe_key)
        if is_dependent(self._where().nat) or not self._probes.can_reach(key):
            return
        running = self._begin(self._draw(), Told.by_record(record), now)
        running.is_caller, running.is_early = False, True
        member.running = running
        self._start(key, running, now, full_at=now if is_expected else now + HOLD_OFF)
        self._wake(key, member)

    def stop(self, key: bytes) -> None:
        """Nobody wants a path to the member any more; what goes on, ends by itself."""
        member = self._members.get(key)
        if member is not None:
            member.is_wanted = False
            self._wake(key, member)

    def forget(self, key: bytes) -> None:
        """Drop everything about who is no member any more."""
        self._held.pop(key, None)
        if self._members.pop(key, None) is not None:
            self._deadlines.set(key, None)
        self._sockets.release(key)
        self._probes.forget(key)

    def try_again(self, *, now: float) -> None:
        """Our addresses are others, or our NAT: whoever is wanted is sought anew."""
        for key, member in self._members.items():
            self._encourage(key, member, now)

    def record_changed(self, key: bytes, *, now: float) -> None:
        """The member says something else of itself than before."""
        record = self._record_of(key, now)
        if record is not None and record.probe_key:
            self._probes.know(key, record.probe_key)
        member = self._members.get(key)
        said = None if record is None else Told.by_record(record)
        if member is not None and member.said != said:
            member.said = said
            self._encourage(key, member, now)

    def set_nat64_prefix(self, prefix: bytes | None) -> None:
        """Reach IPv4 by these first 12 bytes of an IPv6 address, too (RFC 6052)."""
        self._nat64 = prefix

    def describe(self, key: bytes) -> tuple[Attempt, ...]:
        """Return what was tried last, and the fate of each probe."""
        member = self._members.get(key)
        if member is None:
            return ()
        return member.last if member.running is None else member.running.describe()

    # --- inputs ---

    def receive_call(self, key: bytes, call: CallMe, *, now: float) -> None:
        """Take a call of the member, or the answer to ours, from inside a session."""
        self._probes.know(key, call.probe_key)
        if not self._probes.can_reach(key):
            return
        member = self._members.setdefault(key, _Member())
        running = member.running
        if call.is_answer:
            if running is not None and running.call == call.number:
                self._be_answered(key, running, call, now)
        elif running is None and self._recount(now):
            self._held[key] = call
        else:
            self._take_call(key, member, call, now)
        self._wake(key, member)

    def go_on(self, *, now: float) -> None:
        """What our NAT does is known as well as it can be: do what waited for that."""
        held, self._held = self._held, {}
        for key, call in held.items():
            member = self._members[key]
            if call is not None:
                self._take_call(key, member, call, now)
            elif member.is_wanted and member.running is None:
                self._call(key, member, now)
            self._wake(key, member)

    def receive_probe(self, opened: Opened, path: Path, *, now: float) -> None:
        """Take a probe that came by *path*; each ping is answered."""
        member = self._members.get(opened.key)
        running = None if member is None else member.running
        if opened.probe.kind is ProbeKind.PING:
            answer = self._probes.pong(opened.key, opened.probe, path.remote)
            self._send(Datagram(answer, path), now)
            if running is not None and running.expects(path.remote.host):
                self._ping_back(opened.key, running, path, now)
                self._on_heard(opened.key, path, now)
        else:
            self._take_pong(opened.key, opened.probe, path, now)
        if member is not None:
            self._wake(opened.key, member)

    def sockets_opened(self, ports: tuple[int, ...], *, now: float) -> None:
        """The sockets that were asked for are open, on these ports."""
        key = self._sockets.user
        member = None if key is None else self._members.get(key)
        if member is None or member.running is None or member.running.search is None:
            self._sockets.close()
            return
        seen = member.running.told.seen
        if key is not None and seen is not None and ports:
            member.running.search.aim(Shot(seen, port) for port in ports)
            self._wake(key, member)

    # --- time ---

    def handle_deadline(self, *, now: float) -> None:
        """Send what is due, and end what is over."""
        for key in self._deadlines.pop_due(now):
            member = self._members[key]
            running = member.running
            if running is None:
                if member.is_wanted:
                    self._call_soon(key, member, now)
            elif now >= running.ends_at:
                self._end(key, member, running, now)
            else:
                self._go_on(key, running, now)
            self._wake(key, member)

    def next_deadline(self) -> Deadline | None:
        """Return when something is to be sent, or ends."""
        return self._deadlines.next()

    # --- how an attempt begins ---

    def _call_soon(self, key: bytes, member: _Member, now: float) -> None:
        if self._recount(now):
            self._held.setdefault(key, None)
        else:
            self._call(key, member, now)

    def _take_call(self, key: bytes, member: _Member, call: CallMe, now: float) -> None:
        running = member.running
        if running is None:
            running = self._begin(call.number, Told.by_call(call), now)
            running.is_caller = False
            member.running = running
        self._be_called(key, running, call, now)

    def _call(self, key: bytes, member: _Member, now: float) -> None:
        """Open to where the member may be, and call it."""
        record = self._record_of(key, now)
        told = Told((), None, NatHint())
        if record is not None and record.probe_key:
            self._probes.know(key, record.probe_key)
            told = Told.by_record(record)
            member.said = told
        running = member.running = self._begin(self._draw(), told, now)
        running.calls = [now + after for after in CALL_AGAIN]
        if self._probes.can_reach(key):
            self._probe_all(key, running, now)
        self._send_call(key, running, now, is_answer=False)

    def _draw(self) -> int:
        return int.from_bytes(self._entropy(4), "little")

    def _begin(self, number: int, told: Told, now: float) -> Running:
        running = Running(number, is_caller=True, told=told, ends_at=now + LASTS)
        self._add_told(running, told)
        return running

    def _add_told(self, running: Running, told: Told) -> None:
        """Try what the member tells of itself, as far as that does no harm."""
        seen = self._usable(() if told.seen is None else (told.seen,))
        candidates = self._usable(told.candidates)
        running.told = Told(candidates, seen[0] if seen else None, told.nat)
        ours = self._where().candidates
        for endpoint in dict.fromkeys((*candidates, *seen)):
            if len(running.tried) < MAX_TRIED and endpoint not in ours:
                running.add(endpoint, How.TOLD)
                if self._nat64 is not None and endpoint.version == 4:
                    running.add(behind_nat64(self._nat64, endpoint), How.TRANSLATED)
        for endpoint in narrow_ports(running.told.seen, told.nat):
            running.add(endpoint, How.PREDICTED)

    def _be_answered(
        self, key: bytes, running: Running, call: CallMe, now: float
    ) -> None:
        """The member has sent to us before it answered: its NATs expect us."""
        if running.is_answered:
            return
        running.is_answered = True
        running.calls = []
        self._add_told(running, Told.by_call(call))
        self._start(key, running, now, full_at=now)

    def _be_called(
        self, key: bytes, running: Running, call: CallMe, now: float
    ) -> None:
        """Answer a call, and do as much as is good; it may be a repeated one."""
        where = self._where()
        ours = {*where.candidates, where.seen}
        is_expected = not ours.isdisjoint(call.opened) and not is_dependent(where.nat)
        if not running.found and (running.is_early or not running.rounds):
            running.is_early = False
            self._add_told(running, Told.by_call(call))
            full_at = now if is_expected else now + HOLD_OFF
            self._start(key, running, now, full_at=full_at)
        self._send_call(key, running, now, is_answer=True, number=call.number)

    def _start(
        self, key: bytes, running: Running, now: float, *, full_at: float
    ) -> None:
        """Probe what there is from now on, at full hops from *full_at* on."""
        running.full_at = min(running.full_at, full_at)
        running.rounds = [now + after for after in ROUNDS]
        self._plan_search(running, now)
        self._go_on(key, running, now)

    def _plan_search(self, running: Running, now: float) -> None:
        """Prepare the search that is needed if nothing else answers soon."""
        where, told = self._where(), running.told
        if running.search is not None or told.seen is None or where.seen is None:
            return  # without an outer endpoint UDP does not get out there
        running.search = plan_search(
            where.nat,
            told.nat,
            host=told.seen.host,
            rate=self._rate,
            entropy=self._entropy,
            now=now,
        )
        if running.search is not None:
            running.ends_at = now + LASTS_SEARCHING

    # --- how it goes on ---

    def _go_on(self, key: bytes, running: Running, now: float) -> None:
        if running.calls and now >= running.calls[0]:
            running.calls.pop(0)
            if self._probes.can_reach(key):
                self._probe_all(key, running, now)
            self._send_call(key, running, now, is_answer=False)
        if running.rounds and now >= running.rounds[0]:
            running.rounds.pop(0)
            self._probe_all(key, running, now)
        if running.search is not None:
            self._search_on(key, running, running.search, now)

    def _probe_all(self, key: bytes, running: Running, now: float) -> None:
        """Send to all who did not answer: as far as it goes, once that is good."""
        for (endpoint, _), tried in list(running.tried.items()):
            if tried.seconds is None:
                self._ping(key, running, tried, now)
            running.opened[endpoint] = None

    def _search_on(
        self, key: bytes, running: Running, search: Search, now: float
    ) -> None:
        at = search.next_at()
        if at is None or now < at:
            return
        if search.sockets and not search.has_asked:
            search.has_asked = True
            if not self._sockets.ask(search.sockets, key):
                running.search = None  # others search at this moment
            return
        for shot in search.take_due(now):
            if running.searched is None:
                host = Endpoint(shot.remote.host, 0)
                running.searched = Tried(How.SEARCHED, Path(host))
            # The other side tries ports at full hops; ours shall only open.
            hops = self._opener_hops() if shot.port else 0
            if shot.port:
                running.searched.openers += 1
            else:
                running.searched.pings += 1
            path = path_by(shot.port, shot.remote)
            self._pings.ping(key, path, hops=hops, now=now)

    def _ping_back(self, key: bytes, running: Running, path: Path, now: float) -> None:
        """A probe came from there: so there is a way in, and perhaps a way out."""
        if place_of(path) not in running.tried and len(running.tried) >= 2 * MAX_TRIED:
            return
        tried = running.add(path.remote, How.HEARD, path)
        if tried.seconds is None and now - tried.pinged_at >= _PING_BACK_PAUSE:
            self._ping(key, running, tried, now, is_full=True)

    def _ping(
        self,
        key: bytes,
        running: Running,
        tried: Tried,
        now: float,
        *,
        is_full: bool = False,
    ) -> None:
        if is_full or now >= running.full_at:
            tried.pings += 1
            tried.pinged_at = now
            self._pings.ping(key, tried.path, hops=0, now=now)
        else:
            tried.openers += 1
            self._pings.ping(key, tried.path, hops=self._opener_hops(), now=now)

    def _take_pong(self, key: bytes, pong: Probe, path: Path, now: float) -> None:
        sent_at = self._pings.answered(key, pong, path)
        if sent_at is None:
            return
        member = self._members.get(key)
        if member is None or member.running is None:
            return
        running = member.running
        how = How.SEARCHED if running.search is not None else How.TOLD
        tried = running.add(path.remote, how, path)
        if tried.seconds is None:
            tried.seconds = now - sent_at
        self._find(key, member, running, path, now)

    def _find(
        self, key: bytes, member: _Member, running: Running, path: Path, now: float
    ) -> None:
        place = place_of(path)
        if place in running.found or len(running.found) >= MAX_FOUND:
            return
        if not running.found:
            running.ends_at = min(running.ends_at, now + AFTER_SUCCESS)
            running.rounds, running.calls, running.search = [], [], None
            self._sockets.choose(key, path.port)
        running.found[place] = None
        member.is_wanted = False
        member.failures = 0
        self._on_found(key, path, now)

    # --- how it ends ---

    def _end(self, key: bytes, member: _Member, running: Running, now: float) -> None:
        member.last = running.describe()
        member.running = None
        self._sockets.choose(key, 0)
        if running.is_early:
            return  # there was no session in time
        pause = BACK_OFF[min(member.failures, len(BACK_OFF) - 1)]
        if not running.found:
            member.failures += 1
        member.not_before = now + pause

    def _encourage(self, key: bytes, member: _Member, now: float) -> None:
        member.failures, member.not_before = 0, now
        self._wake(key, member)

    def _wake(self, key: bytes, member: _Member) -> None:
        at = None
        if member.running is not None:
            at = member.running.next_at()
        elif member.is_wanted and key not in self._held:
            at = member.not_before
        self._deadlines.set(key, None if at is None else Deadline(at, "hole punching"))

    def _send_call(
        self,
        key: bytes,
        running: Running,
        now: float,
        *,
        is_answer: bool,
        number: int | None = None,
    ) -> None:
        where = self._where()
        call = CallMe(
            running.call if number is None else number,
            is_answer,
            self._probes.key,
            where.candidates[:MAX_CALLED],
            where.seen,
            where.nat,
            tuple(running.opened)[:MAX_CALLED],
        )
        self._tunnels.send(key, call, now=now)
