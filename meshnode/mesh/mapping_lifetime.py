"""Measure how long the NAT before us keeps an idle mapping, and whether it hairpins.

A fresh socket pings a member, whose answer makes a mapping and tells its outer
endpoint. Nothing passes by it for some seconds; then the member is asked, inside the
session, to send a probe there. If it arrives, a mapping lives that long. Each try has
a socket of its own: on ours, the keepalives to others may refresh what is measured.

A mapping that has carried no more than one question and its answer is what counts.
Routers that keep longer talks longer (Linux: 30 s, then 120 s) are taken at the
shorter: after a router forgot us, a home gets nothing but keepalives from us.

The first try waits for nothing: it shows that such probes arrive at all. Its socket
sends a datagram to its own outer endpoint, too; if that comes back, the NAT hairpins.
What failed is tried once more before it counts, for datagrams get lost. A measurement
is some 20 datagrams. There is one soon after our NAT is known, one when it is another
(or has changed our port), and else one a day.
"""

import math
from collections.abc import Callable
from typing import Final

from meshnode.deadlines import Deadline
from meshnode.mesh.nat_view import Helper
from meshnode.mesh.probes import Opened, Probes
from meshnode.mesh.punch_sockets import SearchSockets
from meshnode.types import Datagram, Endpoint, Path, Source

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
_ANY_HOST: Final = "0.0.0.0"

AskProbe = Callable[[bytes, Endpoint, float], None]
"""Ask a member to send a probe to an endpoint of ours."""


class MappingLifetime:
    """Measures; `keepalive` is what follows from it.

    `lived` is how many seconds a mapping surely lives, 0 while nothing is proven, and
    `died` after how many it was gone. `hairpin` is None until it is known.

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
        self._probes = probes
        self._sockets = sockets
        self._send = send
        self._helpers = helpers
        self._ask = ask
        self._place = place
        self._measured: Endpoint | None = None
        self._at: float | None = None
        self._until_known = USUAL
        self._forget()
        self._clear()

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
        # Others may search while this one is silent.
        self._port = ports[0] if ports and self._helper is not None else 0
        self._sockets.set_aside(_USER, self._port)
        if self._port and self._helper is not None:
            self._at = now + WAIT
            self._number, data = self._probes.ping(self._helper.key)
            self._send_by_it(data, self._helper.endpoint, now)
        return True

    def take_pong(self, opened: Opened, *, now: float) -> bool:
        """Take an answer; return whether it was one to us."""
        if not self._number or opened.probe.number != self._number:
            return False
        seen, is_helper = opened.probe.seen, self._is_helper(opened)
        if is_helper and self._outer is None and self._is_expected(seen):
            self._outer = seen
            self._at = now + self._silence
        return is_helper

    def take_ping(self, opened: Opened, path: Path, *, now: float) -> bool:
        """Take a probe; return whether it came to our socket."""
        port = path.source.port if path.source is not None else 0
        if not self._port or port != self._port:
            return False
        if self._is_helper(opened) and self._asks and not self._has_lived:
            self._has_lived = True
            if self._silence:
                self._at = now
        return True

    def take_echo(self, data: bytes) -> bool:
        """Take a datagram of type 6; return whether it was sent here to ourselves."""
        is_ours = bool(self._echo) and data == self._echo
        if is_ours:
            self.hairpin = True
        return is_ours

    def handle_deadline(self, *, now: float) -> None:
        """Go on with measuring."""
        if self._at is None or now < self._at:
            return
        if not self._port:
            self._begin(now)
        elif self._outer is None:
            self._end_try()
            self._at = now + AGAIN
        elif self._asks < ASKS and not self._is_answered():
            self._ask_once(self._outer, now)
        else:
            self._conclude(now)

    def next_deadline(self) -> Deadline | None:
        """Return when measuring goes on."""
        return None if self._at is None else Deadline(self._at, "measure mappings")

    # --- one try ---

    def _begin(self, now: float) -> None:
        place, silence = self._place(), self._next_silence()
        self._measured = place
        if place is None:
            self._at = None  # `follow` hears of the next one
            return
        if silence is None:
            self._until_known = min(USUAL, self.keepalive)
            self._forget()
        self._at = now + AGAIN
        usable = [one for one in self._helpers() if self._probes.can_reach(one.key)]
        # Sockets may come at once.
        self._helper, self._silence = (usable or [None])[0], silence or 0.0
        if usable:
            self._sockets.ask(1, _USER)

    def _next_silence(self) -> float | None:
        """Return what to try next, None if enough is known."""
        if not self._is_able:
            return 0.0
        died = math.inf if self.died is None else self.died
        if self.lived:
            return min(
                (one for one in TRIED if self.lived < one < died), default=None
            )
        return max((one for one in TRIED if one <= FIRST and one < died), default=None)

    def _is_helper(self, opened: Opened) -> bool:
        return self._helper is not None and opened.key == self._helper.key

    def _is_expected(self, seen: Endpoint | None) -> bool:
        """Whether it is where members send probes that we ask for: at our address."""
        place = self._measured
        return seen is not None and place is not None and seen.host == place.host

    def _is_answered(self) -> bool:
        """Whether nothing more is learnt by asking again."""
        return self._has_lived and (bool(self._silence) or self.hairpin is not None)

    def _ask_once(self, outer: Endpoint, now: float) -> None:
        self._asks += 1
        self._at = now + WAIT
        if self._helper is None:
            return
        if not self._silence and self.hairpin is None:
            if not self._echo:
                _, self._echo = self._probes.ping(self._helper.key)
            self._send_by_it(self._echo, outer, now)
        if not self._has_lived:
            self._ask(self._helper.key, outer, now)

    def _conclude(self, now: float) -> None:
        silence, has_lived = self._silence, self._has_lived
        self._end_try()
        self._at = now
        if has_lived:
            self._is_in_doubt = False
            if silence:
                self.lived = silence
            else:
                self._is_able = True
                self.hairpin = bool(self.hairpin)
        elif not silence:
            self._at = now + UNABLE
        else:
            if self._is_in_doubt:
                self.died = silence
            self._is_in_doubt = not self._is_in_doubt
        if self._next_silence() is None:
            self._at = now + EVERY

    def _send_by_it(self, data: bytes, remote: Endpoint, now: float) -> None:
        path = Path(remote, Source(_ANY_HOST, 0, self._port))
        self._send(Datagram(data, path), now)

    def _end_try(self) -> None:
        if self._port:
            self._sockets.drop_aside()
        self._clear()

    def _clear(self) -> None:
        self._helper: Helper | None = None
        self._silence = 0.0
        self._port = self._number = self._asks = 0
        self._outer: Endpoint | None = None
        self._has_lived = False
        self._echo = b""

    def _forget(self) -> None:
        """Forget what was measured."""
        self.lived = 0.0
        self.died: float | None = None
        self.hairpin: bool | None = None
        self._is_able = self._is_in_doubt = False
