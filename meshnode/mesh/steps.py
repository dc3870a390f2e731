"""What follows from a change: of the set of records, of our papers, of the settings.

Changes of the set are followed in one place (`follow`): the view of members says who
came and went, tunnels and neighbours are told, and routes are marked to be computed.
They are computed at the end of the step, once, whatever happened in it. In a network
of thousands they then wait for a moment, for a set that is being filled changes with
every message; who is gone is cut off at once all the same.
"""

from collections.abc import Iterable
from typing import Final

from meshnode.codec.records import Charter, Policy, Role, Route
from meshnode.crypto.keys import PublicKey
from meshnode.deadlines import Deadline
from meshnode.errors import CodecError, ConfigError
from meshnode.mesh.events import (
    HealthChanged,
    MemberChanged,
    MemberGone,
    MemberJoined,
    PolicyChanged,
    RoutesChanged,
)
from meshnode.mesh.exit_view import exit_complaint
from meshnode.mesh.membership import MemberChange, Standing
from meshnode.mesh.parts import NodeParts
from meshnode.mesh.ports import PathTunnels, StoredState
from meshnode.mesh.publishing import Hints
from meshnode.mesh.record_set import Merge
from meshnode.mesh.refusal import RecordRefused
from meshnode.mesh.relay_server import serves_as_relay
from meshnode.mesh.renewal import HEALTH_SUBJECT
from meshnode.mesh.routes import certified_exit_routes
from meshnode.mesh.settings import NodeIdentity, NodeSettings
from meshnode.mesh.sync import News
from meshnode.mesh.trust import VerifiedMember
from meshnode.ports import NEVER, Entropy

MAX_CONFLICTS: Final = 8
"""That are named; there may be more."""

FEW_MEMBERS: Final = 256
"""Up to so many, routes are computed in every step that changes them."""

PAUSE_PER_MEMBER: Final = 2e-4
"""Seconds between two computations, for each member: it takes a fifth of that."""


class NodeSteps(NodeParts):
    """The parts of a node, and how a change of one moves the others.

    `health` has what is wrong now, by subject. Arguments are those of `MeshNode`.
    """

    def __init__(
        self,
        identity: NodeIdentity,
        settings: NodeSettings,
        stored: StoredState,
        *,
        tunnels: PathTunnels,
        entropy: Entropy,
        now: float,
        wall: float,
    ) -> None:
        super().__init__(
            identity, settings, stored, tunnels=tunnels, entropy=entropy, now=now
        )
        self.health: dict[str, str] = {}
        self._settings = settings
        self._wall = self.clock.believe(wall, now=now)
        self._sessions: set[bytes] = set()
        self._homes: dict[bytes, int] = {}
        self._is_own_word_stale = True
        self._are_routes_stale = True
        self._is_plan_stale = True
        self._routes_at = NEVER
        self._refusal = ""

    def tell_health(self, subject: str, text: str, *, now: float) -> None:
        """Let *text* be what is wrong with *subject*; "" for nothing."""
        if self.health.get(subject, "") == text:
            return
        if text:
            self.health[subject] = text
        else:
            self.health.pop(subject, None)
        self.outbox.report(HealthChanged(subject, text), now=now)

    # --- our own word ---

    def _announce(self, now: float) -> None:
        """Say of ourselves what the settings say, as far as our certificate goes."""
        self._announce_routes(now)
        self.reach.dialler.set_record(self.own.data)
        self.renewal.set_certificate(self.own.certificate, now=now)
        self._refusal = ""
        try:
            news = self.sync.publish(self.own.data, now=now, wall=self._wall)
        except RecordRefused as refusal:
            self._refusal = f"our own record is refused: {refusal}"
            news = ()
        self._follow(news, now)
        self._tell_standing(now)

    def _announce_routes(self, now: float) -> None:
        wanted = (*self._settings.routes, *self._exit_routes(now))
        granted = [route for route in wanted if self.own.may_announce(route.prefix)]
        fitting = list(granted)
        while True:
            try:
                self.own.announce(tuple(fitting), now=now)
                break
            except CodecError:
                fitting.pop()
        texts = []
        if len(granted) < len(wanted):
            names = _names(route for route in wanted if route not in granted)
            texts.append(
                f"our certificate does not allow {names}: not announced; at an issuer: "
                f"meshnode cert grant {self.own.certificate.name} --route"
            )
        if len(fitting) < len(granted):
            names = _names(granted[len(fitting) :])
            texts.append(f"there is no room for {names} in a record: not announced")
        self.tell_health("announced routes", "; ".join(texts), now=now)

    def _exit_routes(self, now: float) -> tuple[Route, ...]:
        """Return the default routes that we offer, as far as our certificate goes."""
        beyond = certified_exit_routes(self.own.certificate)
        if not self._settings.offers_exit:
            beyond = ()
        elif not beyond:
            text = (
                "our certificate does not make this node an exit: at an issuer: "
                f"meshnode cert grant {self.own.certificate.name} --role exit "
                "--route 0.0.0.0/0 --route ::/0"
            )
            self.tell_health("exit offered", text, now=now)
            return ()
        self.tell_health("exit offered", "", now=now)
        known = {route.prefix for route in self._settings.routes}
        return tuple(Route(prefix) for prefix in beyond if prefix not in known)

    def _stay_above(self, now: float) -> None:
        """Outdo a later word of ours from a state that we have lost."""
        self._is_own_word_stale = False
        for known in self.records.members_of(self.key):
            if not self.own.is_ours(known.key, known.certificate.signing_key):
                continue  # somebody certified another's signing key for our name
            if known.data == self.own.data:
                continue
            if self.own.raise_above(known.version):
                self._announce(now)

    def _tell_standing(self, now: float) -> None:
        """Say so if we are no member, and why."""
        text = self._refusal
        if not text and not self.own.has_left and not self._counts():
            why = self.membership.standing(self.key)
            if why is Standing.UNKNOWN:
                # An authority's revocation takes a record out of the set.
                is_revoked = any(map(self.directory.is_revoked, self.own.subjects))
                why = Standing.REVOKED if is_revoked else Standing.EXPIRED
            text = f"this node is no member: {why.value}"
        self.tell_health("membership", text, now=now)

    def _counts(self) -> bool:
        return self.membership.by_key(self.key) is not None

    def _tell_hints(self, now: float) -> None:
        """Tell others how to probe us, and by which relays to reach us."""
        hints = Hints(self.probes.key, self.nat_view.hint, self.relays.best())
        self.reach.set_hints(hints, now=now, wall=int(self._wall))

    # --- the set of records ---

    def _follow(self, news: Iterable[News], now: float) -> None:
        """Let what changed in the set change everything that stands on it."""
        merges = []
        for one in news:
            match one:
                case Merge():
                    merges.append(one)
                    self._is_own_word_stale |= any(map(self._is_about_us, one.kept))
                case Charter():
                    self._are_routes_stale = True
                case Policy():
                    self._use_policy(one, now)
        self._apply(self.membership.update(*merges, wall=self._wall), now)

    def _is_about_us(self, record: object) -> bool:
        return isinstance(record, VerifiedMember) and record.key == self.key

    def _use_policy(self, policy: Policy, now: float) -> None:
        self._is_plan_stale = True
        try:
            self.roads.use_policy(policy)
        except ConfigError as error:
            text = f"policy {policy.version} is not understood ({error}); upgrade"
            self.tell_health("policy", text, now=now)
            return
        self.tell_health("policy", "", now=now)
        self.outbox.report(PolicyChanged(policy.version), now=now)

    def _apply(self, changes: tuple[MemberChange, ...], now: float) -> None:
        if not changes:
            return
        self.directory.follow(changes)
        self._are_routes_stale = True
        for change in changes:
            if change.member.key == self.key:
                self._tell_standing(now)
            elif change.after is None:
                self._part(change, now)
            elif change.before is None:
                self._meet(change.after, now)
            else:
                name = change.after.certificate.name
                self.outbox.report(MemberChanged(name, change.after.key), now=now)
        self._tell_conflicts(now)

    def _meet(self, member: VerifiedMember, now: float) -> None:
        name, key = member.certificate.name, member.key
        if Role.STOCK not in member.certificate.roles:
            self.neighbours.add(key, now=now)
        if Role.RENDEZVOUS in member.certificate.roles:
            self.reach.rendezvous_changed(now=now)
        if serves_as_relay(member.certificate.roles):
            self.relays.relays_changed(now=now)
        self.contacts.note_member(key)
        self.outbox.report(MemberJoined(name, key), now=now)

    def _part(self, change: MemberChange, now: float) -> None:
        name, key = change.member.certificate.name, change.member.key
        self.roads.part(key, now=now)
        self.neighbours.remove(key, now=now)
        self.sync.forget(key)
        self.reach.forget(key)
        self.relays.forget(key, now=now)
        self.paths.forget(key, now=now)
        self.puncher.forget(key)
        self._sessions.discard(key)
        self.sizes.forget(key)
        self.narrow.forget(key)
        self.contacts.note_gone(key, now=now)
        self.outbox.report(MemberGone(name, key, change.why.value), now=now)

    def _tell_conflicts(self, now: float) -> None:
        pairs = self.membership.outdone()
        text = "; ".join(
            f"{one.certificate.name} ({PublicKey(one.key)}) is left out: "
            f"{other.certificate.name} ({PublicKey(other.key)}) has its name or address"
            for one, other in pairs[:MAX_CONFLICTS]
        )
        self.tell_health("conflicts", text, now=now)

    # --- the end of a step ---

    def _end_step(self, now: float) -> None:
        """Do once what the step made necessary."""
        if self._is_own_word_stale:
            self._stay_above(now)
        complaint = self.renewal.complaint
        if complaint:
            self.health[HEALTH_SUBJECT] = complaint
        else:
            self.health.pop(HEALTH_SUBJECT, None)
        self._is_plan_stale |= self.sizes.take_change()
        self._is_plan_stale |= self.narrow.take_change()
        self._follow_homes(now)
        self._follow_ways(now)
        for key, endpoint in self.tunnels.take_questions().items():
            self.detours.asked(key, endpoint, now=now)
        if not self.nat_view.is_counting:
            self.puncher.go_on(now=now)
        self._tell_hints(now)
        due = self.roads.exits.next_deadline()
        self._are_routes_stale |= due is not None and due.at <= now
        if self._are_routes_stale and now >= self._refresh_at():
            self._refresh(now)

    def _follow_homes(self, now: float) -> None:
        """Stay in touch with the relays near to us."""
        homes = {key: self.relays.keepalive(key) for key in self.relays.homes}
        if homes != self._homes:
            self._homes = homes
            self._are_routes_stale = True  # they are told to the tunnels with the peers

    def _follow_ways(self, now: float) -> None:
        """Dial and speak by the channels that there are now."""
        for key in self.relays.take_changes():
            self.reach.dialler.ways_changed(key, now=now)
            self.paths.ways_changed(key, now=now)

    def _refresh_at(self) -> float:
        """Return from when on stale routes may be computed again."""
        count = len(self.membership)
        pause = 0.0 if count <= FEW_MEMBERS else count * PAUSE_PER_MEMBER
        return self._routes_at + pause

    def _refresh(self, now: float) -> None:
        self._are_routes_stale = False
        self._routes_at = now
        self._is_plan_stale = True
        if self.roads.refresh(now=now):
            self.outbox.report(RoutesChanged(), now=now)
        self.tell_health("exit", exit_complaint(self.roads), now=now)

    def _routes_deadline(self) -> Deadline | None:
        if not self._are_routes_stale:
            return self.roads.exits.next_deadline()
        return Deadline(self._refresh_at(), "compute routes")


def _names(routes: Iterable[Route]) -> str:
    return ", ".join(str(route.prefix) for route in routes)
