"""The paths to each member that we speak to: proven, doubted, changed and taken again.

Theory of operation. A path is *proven* by a `Ping` sent by it inside the session and
answered by a `Pong` that came by it; `path_choice` says which of those alive is taken.

While data is sent, the silence since the last packet from the member is watched. After
one and a half round trips without anything it is *asked*: a ping by the path in use. If
the traffic had gone both ways until then, or no answer comes in time, the path is in
*doubt*: data goes by the standby, too, which is the next best path alive, and pings
follow. Only a pong by that very path ends the doubt, for what comes by a relay says
nothing of it. After a second the path is *dead*, and the standby is the path.

A dead path is probed as long as there is traffic, and is alive after two answers in a
row; a direct one is dropped after a minute, for by then the NATs have forgotten it, and
finding another is the seeker's. Relays are wanted, as a standby, for whom traffic of
more than a moment goes to; without traffic nothing is sent, and soon nothing watched.
"""

from collections.abc import Callable
from typing import Final

from meshnode.channels import channel_of
from meshnode.codec.messages import Ping
from meshnode.deadlines import Deadline, DeadlineHeap, next_turn
from meshnode.mesh.path_choice import Measured, PathKind, is_better_class
from meshnode.mesh.path_member import LINGER, Member, PathState
from meshnode.mesh.path_members import PathMembers
from meshnode.mesh.path_ports import RelayWays, Seeker
from meshnode.mesh.path_ways import ANSWERS_TO_RETURN, Way, place_of
from meshnode.mesh.ports import PathTunnels
from meshnode.ports import NEVER, Entropy
from meshnode.types import Endpoint, Path

LOOK_AT_ONCE: Final = 0.005
"""Seconds from the beginning of a session until what waited for it has left."""

LOOK: Final = 0.1
"""Seconds between two looks at a member that data goes to."""

LOOK_RARELY: Final = 1.0
"""The same, when none has gone for a second."""

CERTAIN: Final = 1.0
"""Seconds that a pong stands against what is only heard elsewhere."""

DIE_AFTER: Final = 1.0
"""Seconds from the first unanswered ping until a path is dead."""

ONE_AT_A_TIME: Final = 0.3
"""Seconds that a direct path is given to answer before another one is asked."""

MIN_ASKED: Final = 3
"""Pings without an answer until a path is dead."""

ASK_AGAIN: Final = 0.15
"""Seconds between two pings by a path in doubt."""

SAMPLE: Final = 5.0
SAMPLE_STANDBY: Final = 15.0
"""Seconds between two probes of the path in use, and of others that are alive."""

FORGOTTEN_AFTER: Final = 25.0
"""Seconds of silence both ways until NATs may have forgotten a direct path."""

FORGET_AFTER: Final = 60.0
"""Seconds that a dead direct path is probed."""

WANT_EVERY: Final = 5.0
"""Seconds after which relays and the seeker are told again that we need them."""

LASTING: Final = 2.0
"""Seconds of traffic that a standby is kept for: not for a message now and then."""

MAX_OFFERED: Final = 64
"""Members without a session whose probes' paths are kept."""

UNANSWERED: Final = 3
"""Pings without an answer that interrupt answers in a row."""

_NONCE_BYTES: Final = 8


class Paths:
    """All members' paths, by WireGuard key; drive it by `handle_deadline`.

    Args:
        key: our own.
        tunnels: the sessions.
        entropy: random bytes.
        relays: give channels.
        seeker: looks for direct paths.
        kind_of: tells what kind a direct endpoint of a member is of.
        candidates: gives a member's endpoints that need no way opened through a NAT.
        is_public: whether a member serves others, and so is to be reached directly
            whatever is said to it.
    """

    def __init__(
        self,
        key: bytes,
        tunnels: PathTunnels,
        entropy: Entropy,
        *,
        relays: RelayWays,
        seeker: Seeker,
        kind_of: Callable[[bytes, Endpoint], PathKind],
        candidates: Callable[[bytes, float], tuple[Endpoint, ...]],
        is_public: Callable[[bytes], bool],
    ) -> None:
        self._key = key
        self._tunnels = tunnels
        self._entropy = entropy
        self._relays = relays
        self._seeker = seeker
        self._candidates = candidates
        self._is_public = is_public
        self._members = PathMembers(relays, kind_of)
        self._offered: dict[bytes, Path] = {}
        self._deadlines: DeadlineHeap[bytes] = DeadlineHeap()

    # --- inputs ---

    def session_started(self, key: bytes, *, now: float) -> None:
        """A session is confirmed: the handshake made the round trip by its path."""
        endpoint = self._tunnels.path_of(key)
        if endpoint is None:
            return
        member = self._members.meet(key)
        way = self._members.way(key, member, Path(endpoint))
        way.prove(now=now)
        member.settle(way, now=now)
        member.awake_at = now
        self._consider(key, member, now)
        offered = self._offered.pop(key, None)
        if offered is not None:
            self.found(key, offered, now=now)
        if way.is_relayed and self._is_public(key):
            self._seek_direct(key, member, now)
        # What waited for the session leaves now, if anything did.
        self._wake(key, now + LOOK_AT_ONCE)

    def adopt(self, key: bytes, *, now: float) -> None:
        """Go on with a member that an earlier control process spoke to by a channel.

        The channel went with that process, and the session does not know.
        """
        endpoint = self._tunnels.path_of(key)
        if endpoint is None or not channel_of(endpoint) or key in self._members:
            return
        if self._tunnels.has_session(key):
            member = self._members.meet(key)
            member.note_traffic(now=now)
            self._relays.want(key, now=now)
            self._wake(key, now + LOOK)

    def path_changed(self, key: bytes, *, now: float) -> None:
        """The tunnels speak to the member elsewhere, perhaps: it moved."""
        member, endpoint = self._members.get(key), self._tunnels.path_of(key)
        if member is None or endpoint is None:
            return
        present = member.present
        if present is not None and present.path.remote == endpoint:
            return
        way = self._members.way(key, member, Path(endpoint))
        if present is not None and self._insists(key, member, present, way):
            self._tunnels.set_path(key, present.path, now=now)
            return
        if present is not None and not present.is_relayed:
            if way.is_relayed and member.is_asking:
                present.die(now=now)
            elif not way.is_relayed and now >= present.ponged_at + CERTAIN:
                # It is there no more: what speaks for one place is against the other.
                del member.ways[place_of(present.path)]
        way.prove(now=now)
        self._leave_doubt(key, member, now)
        member.settle(way, now=now)
        if way.quality.seconds is None and present is not None:
            way.quality.seconds = present.quality.seconds  # a guess, to be patient by
        if now >= member.moved_at + CERTAIN:
            member.moved_at = now
            # It was heard from there, which says nothing of the way to it.
            self._begin_asking(key, member, way, now)
        self._consider(key, member, now)
        self._wake(key, now)

    def found(self, key: bytes, path: Path, *, now: float) -> None:
        """A probe of the member came by *path*, or its answer did: prove it for data.

        Without a session that waits for one.
        """
        if not self._tunnels.has_session(key):
            self._offered.pop(key, None)
            self._offered[key] = path
            if len(self._offered) > MAX_OFFERED:
                del self._offered[next(iter(self._offered))]
            return
        member = self._members.meet(key)
        if not self._is_wanted(member, self._members.kind_of(key, path.remote)):
            return
        way = self._members.way(key, member, path)
        member.renew(way, path)
        if way is member.present or now < way.asked_at + ASK_AGAIN:
            return
        way.asked = 0
        # One at a time: what is sent by several lets the member move to and fro.
        others = [one for one in member.ways.values() if one.is_candidate]
        last = max((one.asked_at for one in others if one is not way), default=NEVER)
        if now < last + ONE_AT_A_TIME:
            way.next_at = last + ONE_AT_A_TIME
        else:
            self._ask(key, member, way, now)
        self._wake(key, now)

    def heard(self, key: bytes, path: Path, *, now: float) -> None:
        """Data of the member came by *path*, to which no member moves by itself."""
        if not self._tunnels.has_session(key):
            return
        if not channel_of(path.remote):
            self.found(key, path, now=now)
            return
        member = self._members.get(key)
        present = None if member is None else member.present
        if member is None or present is None or present.path.remote == path.remote:
            return
        # It may not hear us where we speak, or may have moved. It may also prefer that
        # channel: two that prefer different ones would ask each other without end.
        self._members.add_relayed(key, member)
        holds = ASK_AGAIN if member.is_busy(now) else CERTAIN
        if now < present.ponged_at + holds:
            return
        self._begin_asking(key, member, present, now)
        # If we were answered just now, it may be our own doubt that it doubles for.
        if now >= member.pong_at + CERTAIN:
            self._double(key, member, now)
        self._wake(key, now)

    def ways_changed(self, key: bytes, *, now: float) -> None:
        """Channels to the member came, went or were opened."""
        member = self._members.get(key)
        if member is not None:
            self._members.add_relayed(key, member)
            self._consider(key, member, now)
            self._renew_standby(key, member, now)
            self._wake(key, now)
        self._leave_closed(key, member, now)

    def addresses_changed(self, *, now: float) -> None:
        """We are somewhere else: doubt every path at once."""
        for key, member in self._members.items():
            if member.present is not None and self._tunnels.has_session(key):
                self._begin_asking(key, member, member.present, now)
                self._double(key, member, now)
                self._wake(key, now)

    def traffic_resumed(self, key: bytes, *, now: float) -> None:
        """Data goes to the member, or waits for it, after a rest."""
        member = self._members.get(key)
        if member is not None and member.is_resting:
            member.is_resting = False
            member.awake_at = now
            self._wake(key, now + LOOK_AT_ONCE)

    def receive_ping(self, key: bytes, path: Path, *, now: float) -> None:
        """A ping came by *path* and is answered, which is no traffic of ours."""
        member = self._members.get(key)
        if member is not None:
            self.heard(key, path, now=now)

    def receive_pong(
        self, key: bytes, nonce: bytes, path: Path | None, *, now: float
    ) -> bool:
        """Take an answer that came by *path*; return whether it proves one.

        Of a data plane that does not say by which path it was the one in use.
        """
        member = self._members.get(key)
        if member is None:
            return False
        way = member.present if path is None else member.ways.get(place_of(path))
        if way is None or not way.quality.answer(nonce, now=now):
            return False
        if path is not None:
            member.renew(way, path)
        member.pong_at = now
        way.answers += 1
        way.asked, way.ponged_at = 0, now
        if way.is_dead and way.answers < ANSWERS_TO_RETURN:
            way.next_at = now + way.pause()
        else:
            way.prove(now=now)
            if way is member.present:
                self._leave_doubt(key, member, now)
            way.next_at = now + self._sample(member, way)
            self._consider(key, member, now)
        self._wake(key, now)
        return True

    def forget(self, key: bytes, *, now: float) -> None:
        """The member does not answer, or is none any more."""
        self._offered.pop(key, None)
        if self._members.forget(key):
            self._deadlines.set(key, None)
            self._relays.drop(key, now=now)
            self._seeker.stop(key)

    def handle_deadline(self, *, now: float) -> None:
        """Look at members and probe paths, as is due."""
        for key in self._deadlines.pop_due(now):
            member = self._members.get(key)
            if member is not None:
                self._look(key, member, now)

    def next_deadline(self) -> Deadline | None:
        """Return when something is due; None without traffic."""
        return self._deadlines.next()

    def describe(self, key: bytes) -> PathState | None:
        """Return what is known of the way to the member, None if nothing is."""
        member = self._members.get(key)
        return None if member is None else member.describe()

    # --- looking ---

    def _look(self, key: bytes, member: Member, now: float) -> None:
        if not self._tunnels.has_session(key):
            if not member.is_busy(now):
                self._relays.drop(key, now=now)  # else somebody dials it by them
            self._seeker.stop(key)
            self._members.forget(key)
            return
        member.follow(
            sent=self._tunnels.last_data_sent(key),
            received=self._tunnels.last_received(key),
            now=now,
        )
        if self._count_lost(member, now):
            self._consider(key, member, now)
        if member.asked_at is None and now >= member.asks_at(now):
            self._begin_asking(key, member, member.present, now)
            if member.was_two_way:
                self._double(key, member, now)
        self._go_on_asking(key, member, now)
        is_idle = not member.is_busy(now) and not member.is_asking
        if is_idle and not self._has_candidates(member):
            if self._is_forgotten(key, member, now):
                self._leave_stale(key, now)
                return
            if now >= max(member.traffic_at, member.awake_at) + LINGER:
                self._rest(key, member, now)
                return
            # Often at first: what waited for a session may leave a little later.
            pause = max(LOOK, min(now - member.awake_at, LOOK_RARELY))
            idle_until = next_turn(now, pause) if pause == LOOK_RARELY else now + pause
            self._wake(key, idle_until)
            return
        member.is_resting = False
        self._probe(key, member, now)
        self._seek(key, member, now)
        self._schedule(key, member, now)

    def _schedule(self, key: bytes, member: Member, now: float) -> None:
        heard_again_by = member.received_at + member.patience
        moments = [now + LOOK, member.asks_at(now), heard_again_by]
        if member.asked_at is not None:
            dies_at = member.asked_at + DIE_AFTER
            moments += [member.doubts_at, member.next_ask_at, dies_at]
        moments += [way.next_at for way in member.ways.values()]
        self._wake(key, min([at for at in moments if at > now]))

    def _rest(self, key: bytes, member: Member, now: float) -> None:
        """Need nothing more. A channel in use is kept as long as the session."""
        member.is_resting = True
        self._leave_doubt(key, member, now)
        self._seeker.stop(key)
        if member.present is not None and member.present.is_relayed:
            self._wake(key, now + LINGER)
        else:
            self._relays.drop(key, now=now)
        if self._tunnels.is_watched(key):
            # For gossip perhaps; they do not tell of users' traffic then.
            self._wake(key, next_turn(now, LOOK_RARELY))

    def _has_candidates(self, member: Member) -> bool:
        """Whether there is a path to prove that would be taken."""
        return any(
            way.is_candidate and self._is_wanted(member, way.kind)
            for way in member.ways.values()
        )

    def _is_forgotten(self, key: bytes, member: Member, now: float) -> bool:
        """Whether the NATs of a path in use may expect nobody by now."""
        present = member.present
        if present is None or present.kind is not PathKind.DIRECT:
            return False
        last = max(member.received_at, member.traffic_at, member.awake_at)
        if now < last + FORGOTTEN_AFTER:
            return False
        return present.path.remote not in self._candidates(key, now)

    def _leave_stale(self, key: bytes, now: float) -> None:
        """Be nowhere: the next packet dials, and so comes by a relay.

        Sent to where the member was, it could be taken for an attack, and spoil it.
        """
        self._tunnels.set_path(key, None, now=now)
        self.forget(key, now=now)

    def _count_lost(self, member: Member, now: float) -> bool:
        """Count what was not answered; return whether anything was not."""
        has_lost = False
        for way in member.ways.values():
            if not way.quality.give_up(now=now):
                continue
            has_lost = True
            # Whether a channel is there, is asked by those who opened it.
            if way.is_alive and not way.is_relayed and way is not member.present:
                if way.asked >= MIN_ASKED:
                    way.die(now=now)
                else:
                    way.next_at = now
        return has_lost

    # --- doubt ---

    def _begin_asking(
        self, key: bytes, member: Member, present: Way | None, now: float
    ) -> None:
        if present is None or member.asked_at is not None:
            return
        member.begin_asking(now=now)
        self._ask(key, member, present, now)

    def _go_on_asking(self, key: bytes, member: Member, now: float) -> None:
        """Doubt the path in use if it does not answer, and give it up in the end."""
        present = member.present
        if member.asked_at is None or present is None:
            return
        # Counted as well: a process that was held up has asked nobody meanwhile.
        if now >= member.asked_at + DIE_AFTER and present.asked >= MIN_ASKED:
            present.die(now=now)
            self._leave_doubt(key, member, now)
            self._consider(key, member, now)
            return
        if now >= member.doubts_at and not member.is_doubled:
            self._double(key, member, now)
        if now >= member.next_ask_at:
            self._ask(key, member, present, now)
            member.next_ask_at = now + ASK_AGAIN

    def _double(self, key: bytes, member: Member, now: float) -> None:
        member.is_doubled = True
        standby = member.next_best()
        if standby is None:
            self._relays.want(key, now=now)
        elif member.standby != standby.path:
            member.standby = standby.path
            self._tunnels.set_standby(key, standby.path, now=now)
            # The member sees by this that we are in doubt, and begins to ask, too.
            self._ask(key, member, standby, now)

    def _renew_standby(self, key: bytes, member: Member, now: float) -> None:
        """Double by another path if the standby is none any more."""
        if not member.is_doubled:
            return
        if member.standby not in [way.path for way in member.ways.values()]:
            member.standby = None
            self._tunnels.set_standby(key, None, now=now)
            self._double(key, member, now)

    def _leave_doubt(self, key: bytes, member: Member, now: float) -> None:
        if member.standby is not None:
            self._tunnels.set_standby(key, None, now=now)
        member.end_asking(now=now)

    # --- probes ---

    def _probe(self, key: bytes, member: Member, now: float) -> None:
        """Probe the paths whose time has come, and drop those of no use."""
        present = member.present
        for place, way in list(member.ways.items()):
            is_old = way.is_dead and now >= way.died_at + FORGET_AFTER
            is_of_use = way.is_alive or way.is_candidate or (way.is_dead and not is_old)
            if not is_of_use and not way.is_relayed and way is not present:
                del member.ways[place]
            if not is_of_use or now < way.next_at:
                continue
            if way is present and member.is_asking:
                continue
            is_other = way is not present and not way.is_relayed
            if is_other and not self._is_wanted(member, way.kind):
                continue
            if way is present and way.is_alive:
                self._begin_asking(key, member, way, now)
            else:
                self._ask(key, member, way, now)

    def _ask(self, key: bytes, member: Member, way: Way, now: float) -> None:
        nonce = self._entropy(_NONCE_BYTES)
        way.quality.ask(nonce, now=now)
        way.asked += 1
        way.asked_at = now
        way.next_at = now + (self._sample(member, way) if way.is_alive else way.pause())
        if way.asked > UNANSWERED:
            way.answers = 0
        self._tunnels.send_by(key, Ping(nonce), way.path, now=now)

    def _sample(self, member: Member, way: Way) -> float:
        return SAMPLE if way is member.present else SAMPLE_STANDBY

    # --- choosing ---

    def _consider(self, key: bytes, member: Member, now: float) -> None:
        """Take the best path, if it is another."""
        chosen = member.choose(now=now)
        if chosen is not None:
            self._leave_doubt(key, member, now)
            self._tunnels.set_path(key, chosen.path, now=now)
            chosen.next_at = min(chosen.next_at, now + SAMPLE)
        if member.is_direct:
            self._seeker.stop(key)

    def _leave_closed(self, key: bytes, member: Member | None, now: float) -> None:
        """Be nowhere rather than at a channel that is closed: so packets wait.

        They make the tunnels dial anew, which nothing that is dropped would do.
        """
        endpoint = self._tunnels.path_of(key)
        if endpoint is None or not channel_of(endpoint):
            return
        if endpoint in self._relays.ways(key):
            return
        if member is not None:
            self._leave_doubt(key, member, now)
            member.chooser.use(None, now=now)
        self._tunnels.set_path(key, None, now=now)

    def _seek(self, key: bytes, member: Member, now: float) -> None:
        """Say what we need: a direct path, and relays to stand by."""
        if now < member.wanted_at + WANT_EVERY:
            return
        is_lasting = now >= member.busy_from + LASTING
        if member.is_direct and not is_lasting:
            return
        member.wanted_at = now
        if is_lasting or not member.is_direct:
            self._relays.want(key, now=now)
        if member.is_direct:
            return
        self._seek_direct(key, member, now)

    def _seek_direct(self, key: bytes, member: Member, now: float) -> None:
        self._seeker.want(key, now=now)
        for endpoint in self._candidates(key, now):
            if (endpoint, 0) not in member.ways:
                self.found(key, Path(endpoint), now=now)

    def _is_wanted(self, member: Member, kind: PathKind) -> bool:
        """Whether a direct path of this *kind* would be taken now.

        Otherwise it is not even asked: a member moves from one to another by itself,
        and would move with each ping.
        """
        present = member.present
        if present is None or not member.is_direct:
            return True
        return is_better_class(Measured(kind), present.measured)

    def _insists(self, key: bytes, member: Member, present: Way, way: Way) -> bool:
        """Whether to stay, though the member was heard by another direct path.

        If each end used another of two that work, each would make the other change,
        for ever: so the end with the lower key decides, and the other one follows.
        """
        if present.is_relayed or way.is_relayed or member.is_asking:
            return False
        return present.is_alive and way.is_proven and self._key < key

    # --- time ---

    def _wake(self, key: bytes, at: float) -> None:
        self._deadlines.set(key, Deadline(at, "the paths to a member"))
