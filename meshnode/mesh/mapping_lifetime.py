"""Measure what the NAT before us does with a mapping: for how long, and for whom.

A fresh socket pings a member, whose answer makes a mapping and tells its outer
endpoint. Nothing passes by it for some seconds; then the member is asked, inside the
session, to send a probe there. If it arrives, a mapping lives that long. Each try has
a socket of its own: on ours, the keepalives to others may refresh what is measured.

A mapping that has carried no more than one question and its answer is what counts.
Routers that keep longer talks longer (Linux: 30 s, then 120 s) are taken at the
shorter: after a router forgot us, a home gets nothing but keepalives from us.

The first try waits for nothing: it shows that such probes arrive at all. Its socket
sends a datagram to its own outer endpoint, too; if that comes back, the NAT hairpins.
And another member, to which it has sent nothing, is asked for a probe: if it arrives,
the NAT lets in anybody (endpoint-independent filtering, RFC 4787, section 5).
What failed is tried once more before it counts, for datagrams get lost. A measurement
is some 20 datagrams. There is one soon after our NAT is known, one when it is another
(or has changed our port), and else one a day.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from meshnode.deadlines import Deadline
from meshnode.mesh.nat_view import Helper
from meshnode.mesh.probes import Opened, Probes
from meshnode.mesh.punch_sockets import SearchSockets, path_by
from meshnode.types import Datagram, Endpoint, Path

USUAL: Final = 25
"""Seconds between keepalives until more is known: few NATs forget sooner."""

SHORTEST: Final = 12
LONGEST: Final = 85
"""Seconds; two of the latter fit into the life of a session's keys."""

TRIED: Final = (13.0, 18.0, 28.0, 55.0, 110.0)
"""Seconds of silence, a little below what NATs are set to (15, 20, 30, 60, 120)."""

FIRST: Final = 28.0
MARGIN: Final = 0.9
"""What part of the proven time is used: timers may be late."""

WAIT: Final = 1.0
"""Seconds in which an answer or a probe arrives."""

ASKS: Final = 2
SETTLE: Final = 30.0
"""Seconds after which a NAT is measured: first, others have more urgent questions."""

AGAIN: Final = 60.0
UNABLE: Final = 3600.0
"""Seconds until the next try if nobody answers, and if no probe arrives at all."""

EVERY: Final = 86_400.0

_USER: Final = b"lifetime"

AskProbe = Callable[[bytes, Endpoint, float], None]
"""Ask a member to send a probe to an endpoint of ours."""


@dataclass(slots=True)
class _Try:
    """One mapping: `port` is our socket's, 0 until it is open, `outer` what it became.

    `stranger` is asked for a probe as well, None if there is nobody. `number` is that
    of our ping, `asks` counts how often we asked for a probe,
    `has_lived` says that it came, and `echo` is what we sent to ourselves.
    """

    helper: Helper
    silence: float
    stranger: Helper | None = None
    port: int = 0
    number: int = 0
    outer: Endpoint | None = None
    asks: int = 0
    has_lived: bool = False
    echo: bytes = b""

    @property
    def is_first(self) -> bool:
        """Whether it waits for nothing."""
        return not self.silence


class MappingLifetime:
    """Measures; `keepalive` is what follows from it.

    `lived` is how many seconds a mapping surely lives, 0 while nothing is proven, and
    `died` after how many it was gone. `hairpin`, and whether it `lets_in` who was not
    sent to, are None until they are known.

    Args:
        probes: seals and opens.
        sockets: those beside our own.
        send: takes what is to leave.
        helpers: gives who can be asked.
        ask: asks them.
        place: gives what tells the NAT before us from others, None if there is none
            or it is not known yet.
    """

    def __init__(
        self,
        *,
        probes: Probes,
        sockets: SearchSockets,
        send: Callable[[Datagram, float], None],
        helpers: Callable[[], tuple[Helper, ...]],
        ask: AskProbe,
        place: Callable[[], Endpoint | None],
    ) -> None:
        self.lived = 0.0
        self.died: float | None = None
        self.hairpin: bool | None = None
        self.lets_in: bool | None = None
        self._probes = probes
        self._sockets = sockets
        self._send = send
        self._helpers = helpers
        self._ask = ask
        self._place = place
        self._measured: Endpoint | None = None
        self._until_known = USUAL
        self._is_able = self._is_in_doubt = False
        self._try: _Try | None = None
        self._at: float | None = None

    @property
    def keepalive(self) -> int:
        """Seconds between keepalives that keep a mapping."""
        if self.lived:
            return min(max(int(self.lived * MARGIN), SHORTEST), LONGEST)
        return self._until_known if self.died is None else SHORTEST

    def look(self, *, now: float) -> None:
        """Begin anew, later: we may be elsewhere."""
        self._until_known = USUAL
        self._forget()
        self._end_try()
        self._at = now + SETTLE

    def follow(self, *, now: float) -> None:
        """Begin anew if the NAT is another than the one that was measured."""
        place = self._place()
        if place != self._measured:
            self._measured = place
            self.look(now=now)

    def sockets_opened(self, ports: tuple[int, ...], *, now: float) -> bool:
        """Take the socket; return whether it was asked for here."""
        if self._sockets.user != _USER:
            return False
        one = self._try
        port = ports[0] if ports and one is not None else 0
        # Others may search while this one is silent.
        self._sockets.set_aside(_USER, port)
        if one is not None and port:
            one.port = port
            one.number, data = self._probes.ping(one.helper.key)
            self._at = now + WAIT
            self._send_from(port, data, one.helper.endpoint, now)
        return True

    def take_pong(self, opened: Opened, *, now: float) -> bool:
        """Take an answer; return whether it was one to us."""
        one = self._try
        if one is None or not one.port or opened.key != one.helper.key:
            return False
        if opened.probe.number != one.number:
            return False
        if one.outer is None and self._is_expected(opened.probe.seen):
            one.outer = opened.probe.seen
            self._at = now + one.silence
        return True

    def take_ping(self, opened: Opened, path: Path, *, now: float) -> bool:
        """Take a probe; return whether it came to our socket."""
        one = self._try
        if one is None or not path.port or path.port != one.port:
            return False
        if one.stranger is not None and opened.key == one.stranger.key:
            self.lets_in = True
        if opened.key == one.helper.key and one.asks and not one.has_lived:
            one.has_lived = True
            if not one.is_first:
                self._at = now
        return True

    def take_echo(self, data: bytes) -> bool:
        """Take a datagram of type 6; return whether it was sent here to ourselves."""
        is_ours = self._try is not None and bool(data) and data == self._try.echo
        if is_ours:
            self.hairpin = True
        return is_ours

    def handle_deadline(self, *, now: float) -> None:
        """Go on with measuring."""
        if self._at is None or now < self._at:
            return
        one = self._try
        if one is None:
            self._begin(now)
        elif one.outer is None:
            self._end_try()
            self._at = now + AGAIN
        elif one.asks < ASKS and not self._is_answered(one):
            self._at = now + WAIT
            self._ask_once(one, one.outer, now)
        else:
            self._conclude(one, now)

    def next_deadline(self) -> Deadline | None:
        """Return when measuring goes on."""
        return None if self._at is None else Deadline(self._at, "measure mappings")

    # --- one try ---

    def _begin(self, now: float) -> None:
        place = self._measured = self._place()
        if place is None:
            self._at = None  # `follow` hears of the next one
            return
        silence = self._next_silence()
        if silence is None:
            self._until_known = min(USUAL, self.keepalive)
            self._forget()
            silence = 0.0
        self._at = now + AGAIN
        usable = [one for one in self._helpers() if self._probes.can_reach(one.key)]
        if usable and self._sockets.ask(1, _USER):
            stranger = None if silence or len(usable) < 2 else usable[1]
            self._try = _Try(usable[0], silence, stranger)

    def _next_silence(self) -> float | None:
        """Return what to try next, None if enough is known."""
        if not self._is_able:
            return 0.0
        died = math.inf if self.died is None else self.died
        fits = [one for one in TRIED if self.lived < one < died]
        if self.lived:
            return min(fits, default=None)
        return max((one for one in fits if one <= FIRST), default=None)

    def _is_expected(self, seen: Endpoint | None) -> bool:
        """Whether it is where members send probes that we ask for: at our address."""
        place = self._measured
        return seen is not None and place is not None and seen.host == place.host

    def _is_answered(self, one: _Try) -> bool:
        """Whether nothing more is learnt by asking again."""
        if not one.is_first:
            return one.has_lived
        knows_filter = one.stranger is None or self.lets_in is not None
        return one.has_lived and self.hairpin is not None and knows_filter

    def _ask_once(self, one: _Try, outer: Endpoint, now: float) -> None:
        one.asks += 1
        if one.is_first and self.hairpin is None:
            if not one.echo:
                _, one.echo = self._probes.ping(one.helper.key)
            self._send_from(one.port, one.echo, outer, now)
        if not one.has_lived:
            self._ask(one.helper.key, outer, now)
        if one.stranger is not None and self.lets_in is None:
            self._ask(one.stranger.key, outer, now)

    def _conclude(self, one: _Try, now: float) -> None:
        self._end_try()
        self._at = now
        if one.is_first:
            self._is_able = one.has_lived
            if one.has_lived:
                self.hairpin = bool(self.hairpin)
                if one.stranger is not None:
                    self.lets_in = bool(self.lets_in)
            else:
                self._at = now + UNABLE
        elif one.has_lived:
            self.lived, self._is_in_doubt = one.silence, False
        elif self._is_in_doubt:
            self.died, self._is_in_doubt = one.silence, False
        else:
            self._is_in_doubt = True
        if self._next_silence() is None:
            self._at = now + EVERY

    def _send_from(self, port: int, data: bytes, remote: Endpoint, now: float) -> None:
        self._send(Datagram(data, path_by(port, remote)), now)

    def _end_try(self) -> None:
        if self._try is not None and self._try.port:
            self._sockets.drop_aside()
        self._try = None

    def _forget(self) -> None:
        """Forget what was measured."""
        self.lived, self.died, self.hairpin, self.lets_in = 0.0, None, None, None
        self._is_able = self._is_in_doubt = False
