"""Learn what the NAT before us does, from members that see us from outside.

Our own socket pings up to three of them, one after the other, and each answer says
where the ping came from: one endpoint for all, or another for each. In the second case
16 more sockets ping one of them, and their ports tell whether they come from a block.
What comes out is a hint for others (`docs/paths.md`), never more: all candidates are
tried whatever it says.

Where a NAT counts its ports up, one more socket asks where it has got to, right before
others are told (`recount`): seconds later that is of no use.

They are asked for their probe keys first, inside the session. We look when there is
somebody to ask, when our addresses are others, when somebody
sees us elsewhere than before, and else every 10 min, for a NAT may go out of ports.
"""

from collections import Counter
from collections.abc import Callable
from typing import Final

from meshnode.codec.records import Mapping, NatHint
from meshnode.deadlines import Deadline
from meshnode.mesh.nat_judgement import SAMPLES, judge, next_ports, preserved
from meshnode.mesh.probes import Opened, Probes
from meshnode.mesh.punch_search import is_narrow
from meshnode.mesh.punch_sockets import SearchSockets, path_by
from meshnode.types import Datagram, Endpoint
from meshnode.values import frozen

MAX_HELPERS: Final = 3
STEP: Final = 0.05
"""Seconds between two pings of our socket: their order is that of a sequence."""

WAIT: Final = 0.5
"""Seconds for answers; fewer gave too few samples."""

LOOK_EVERY: Final = 600.0
AGAIN_IN: Final = 15.0
"""Seconds until we look again where too few answered."""

_USER: Final = b"nat"
_COUNTER: Final = b"nat count"


@frozen
class Helper:
    """A member that sees us from outside: its WireGuard key, and where it is."""

    key: bytes
    endpoint: Endpoint


@frozen
class NatFacts:
    """What was seen of the NAT, for people.

    `seen` is our outer endpoint; `preserves_port` says that its port is our own.
    `answers` of how many members, and how many `samples` of other sockets came.
    """

    hint: NatHint
    seen: Endpoint | None
    preserves_port: bool
    answers: int
    samples: int


class NatView:
    """Looks at the NAT; `hint` and `seen` are what others are told.

    Args:
        probes: seals and opens.
        sockets: those beside our own, which searches use, too.
        send: takes what is to leave.
        helpers: gives who can be asked, over IPv4.
        ask_key: asks a member for its probe key.
        port: gives our own UDP port.
        is_local: whether an endpoint is on an address of this host.
    """

    def __init__(
        self,
        *,
        probes: Probes,
        sockets: SearchSockets,
        send: Callable[[Datagram, float], None],
        helpers: Callable[[], tuple[Helper, ...]],
        ask_key: Callable[[bytes, float], None],
        port: Callable[[], int],
        is_local: Callable[[Endpoint], bool],
    ) -> None:
        self.hint = NatHint()
        self.seen: Endpoint | None = None
        self._probes = probes
        self._sockets = sockets
        self._send = send
        self._helpers = helpers
        self._ask_key = ask_key
        self._port = port
        self._is_local = is_local
        self._at: float | None = None
        self._is_looking = self._is_asked_again = False
        self._has_begun = False
        self._to_ask: list[Helper] = []
        self._asked: dict[int, tuple[bytes, int]] = {}
        self._answers: dict[int, Endpoint] = {}
        self._samples: dict[int, Endpoint] = {}
        self._has_sampled = False
        self._lacks_samples = False
        self._counted: NatHint | None = None
        self._counts_until: float | None = None

    def look(self, *, now: float) -> None:
        """Look anew, soon: we are elsewhere, or there is somebody to ask."""
        if self._is_looking:
            self._is_asked_again = True
        else:
            self._at = now

    def note_helper(self, *, now: float) -> None:
        """There is somebody more to ask."""
        if not self.is_sure:
            self.look(now=now)

    def note_seen(self, seen: Endpoint, *, now: float) -> None:
        """A member sees our own socket there."""
        is_known = seen == self.seen or self.hint.mapping is Mapping.ENDPOINT_DEPENDENT
        if seen.version == 4 and not is_known:
            self.look(now=now)

    @property
    def is_sure(self) -> bool:
        """Whether enough members have seen us."""
        return self.hint.mapping is not Mapping.UNKNOWN

    @property
    def place(self) -> Endpoint | None:
        """What tells the NAT before us from another, None if we know of none."""
        if self.seen is None or not self.is_sure or self._is_local(self.seen):
            return None
        is_stable = self.hint.mapping is Mapping.ENDPOINT_INDEPENDENT
        return self.seen if is_stable else Endpoint(self.seen.host, 0)

    @property
    def latest(self) -> NatHint:
        """The hint as it is good for a second or two; records keep to `hint`."""
        return self._counted or self.hint

    @property
    def is_counting(self) -> bool:
        """Whether `latest` is about to be known."""
        return self._counts_until is not None

    def recount(self, *, now: float) -> bool:
        """Ask where a NAT that counts has got to; return whether an answer may come."""
        if self.is_counting:
            return True
        if self._is_looking or self.seen is None or not is_narrow(self.hint):
            return False
        if not self._usable() or not self._sockets.ask(1, _COUNTER):
            return False
        self._counts_until = now + WAIT
        return True

    def facts(self) -> NatFacts:
        """Return what was seen."""
        preserves = self.seen is not None and self.seen.port == self._port()
        answers, samples = len(self._answers), len(self._samples)
        return NatFacts(self.hint, self.seen, preserves, answers, samples)

    def take_pong(self, opened: Opened) -> bool:
        """Take an answer; return whether it was one to us."""
        asked = self._asked.pop(opened.probe.number, None)
        if asked is None or asked[0] != opened.key or opened.probe.seen is None:
            return asked is not None
        if asked[1] and self._sockets.user == _COUNTER:
            self._end_count(opened.probe.seen)
        elif asked[1]:
            self._samples[opened.probe.number] = opened.probe.seen
        else:
            self._answers[opened.probe.number] = opened.probe.seen
        return True

    def sockets_opened(self, ports: tuple[int, ...], *, now: float) -> bool:
        """Take sockets; return whether they were asked for here."""
        if self._sockets.user not in (_USER, _COUNTER):
            return False
        helpers = self._usable()
        for port in ports if helpers else ():
            self._ping(helpers[0], port, now)
        if self._sockets.user == _USER:
            self._at = now + WAIT
        return True

    def handle_deadline(self, *, now: float) -> bool:
        """Go on with looking; return whether we are behind another NAT than before."""
        if self._counts_until is not None and now >= self._counts_until:
            self._end_count(None)
        if self._at is None or now < self._at:
            return False
        before = self._what_matters()
        if not self._is_looking:
            self._begin(now)
        elif not self._has_begun:
            self._has_begun = True
            self._to_ask = self._usable()
            self._at = now if self._to_ask else now + WAIT
        elif self._to_ask:
            self._ping(self._to_ask.pop(0), 0, now)
            self._at = now + (STEP if self._to_ask else WAIT)
        elif not self._sample(now):
            self._end(now)
        return before != self._what_matters()

    def next_deadline(self) -> Deadline | None:
        """Return when looking goes on."""
        moments = [at for at in (self._at, self._counts_until) if at is not None]
        return Deadline(min(moments), "look at the NAT") if moments else None

    def _what_matters(self) -> tuple[Mapping, str | None]:
        # The ports of some NATs are others at each look.
        return self.hint.mapping, None if self.seen is None else self.seen.host

    def _usable(self) -> list[Helper]:
        helpers = self._helpers()[:MAX_HELPERS]
        return [helper for helper in helpers if self._probes.can_reach(helper.key)]

    def _begin(self, now: float) -> None:
        helpers = self._helpers()[:MAX_HELPERS]
        if not helpers:
            self._at = None  # somebody to ask will say so
            return
        for helper in helpers:
            self._ask_key(helper.key, now)
        self._is_looking, self._is_asked_again = True, False
        self._has_begun = self._has_sampled = self._lacks_samples = False
        self._asked, self._answers, self._samples = {}, {}, {}
        self._at = now + WAIT

    def _ping(self, helper: Helper, port: int, now: float) -> None:
        number, data = self._probes.ping(helper.key)
        self._asked[number] = helper.key, port
        self._send(Datagram(data, path_by(port, helper.endpoint)), now)

    def _sample(self, now: float) -> bool:
        """Ask for other sockets if that would tell more; return whether we wait."""
        hint = self._judge()
        is_dependent = hint.mapping is Mapping.ENDPOINT_DEPENDENT
        if self._has_sampled or not is_dependent or hint.first_port:
            return False
        self._has_sampled = True
        if not self._sockets.ask(SAMPLES, _USER):
            self._lacks_samples = True
            return False
        self._at = now + 2 * WAIT
        return True

    def _judge(self) -> NatHint:
        samples = [self._samples[number] for number in sorted(self._samples)]
        return judge(self._outermost(), samples, port=self._port())

    def _end_count(self, seen: Endpoint | None) -> None:
        """Predict the ports after the one at which a new socket was *seen*, if so."""
        self._counts_until = None
        self._sockets.choose(_COUNTER, 0)
        if seen is not None and self.seen is not None:
            is_rising = self.hint.first_port > self.seen.port
            first, last = next_ports(seen.port, is_rising=is_rising)
            self._counted = NatHint(Mapping.ENDPOINT_DEPENDENT, first, last)

    def _outermost(self) -> list[Endpoint]:
        """Return how we are seen from beyond the NATs, in order of time.

        Who is on our side of one sees another address, that of this host perhaps.
        """
        seen = [self._answers[number] for number in sorted(self._answers)]
        beyond = [one for one in seen if not self._is_local(one)] or seen
        hosts = Counter(one.host for one in beyond)
        return [one for one in beyond if hosts[one.host] == max(hosts.values())]

    def _end(self, now: float) -> None:
        self._sockets.choose(_USER, 0)
        self._is_looking, self._asked = False, {}
        outermost = self._outermost()
        seen = preserved(outermost, self._port())
        if seen is None and outermost:
            seen = outermost[-1]
        hint = self._judge()
        is_enough = hint.mapping is not Mapping.UNKNOWN
        if is_enough or not self._is_where_we_were(seen):
            self.hint, self.seen, self._counted = hint, seen, None
        if is_enough and not self._lacks_samples:
            self._at = now + LOOK_EVERY
        else:
            self._at = now + (0.0 if self._is_asked_again else AGAIN_IN)

    def _is_where_we_were(self, seen: Endpoint | None) -> bool:
        """Whether too few answers say nothing against what we knew before."""
        if seen is None or self.seen is None:
            return seen is None
        return seen.host == self.seen.host
