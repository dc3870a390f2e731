"""What happens to the members of a random mesh, and how it is put right again.

As `accidents` does for plain tunnels; an accident with two parts puts off its second.
What can be put right is, when the troubles end (`repair`); who was revoked, has left,
or died for good stays away, and is in `gone`.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Final

from meshnode.codec.records import Route
from meshnode.mesh.token import Token
from meshnode.simulation.mesh_disk import MeshDisk
from meshnode.simulation.mesh_host import Boundary, MeshHome
from meshnode.simulation.mesh_joiner import JoinAttempt
from meshnode.simulation.mesh_world import FASTER
from meshnode.simulation.workers import ROLES

if TYPE_CHECKING:
    from meshnode.simulation.mesh_world import MeshWorld

_HOUR: Final = 3600.0
_YEAR: Final = 365 * 86400.0
_MOST_NEWCOMERS: Final = 3
_FEWEST: Final = 3
_MOST_CHARTERS: Final = 8
# A new member tells only the founder where it is, until its next round.
_PUBLISHED_AFTER: Final = 80.0
_POLICIES: Final = (
    'default = "allow"\n',
    'default = "deny"\n[[rule]]\nfrom = ["*"]\nto = ["*"]\nallow = ["icmp"]\n',
    'default = "deny"\n'
    '[[rule]]\nfrom = ["group:staff"]\nto = ["*"]\nallow = ["tcp:22"]\n',
)


class MeshAccidents:
    """Draws accidents for the members of *world*.

    The first of them, who founded the network, issues certificates; `gone` are those
    that will not be back. Three members that serve as rendezvous always stay.
    """

    def __init__(self, world: "MeshWorld", random: Random) -> None:
        self.gone: set[str] = set()
        self._world = world
        self._random = random
        self._founder = next(iter(world.homes))
        self._newcomers = 0
        self._backups: dict[str, MeshDisk] = {}
        self._kinds: tuple[Callable[[MeshHome], None], ...] = (
            self._crash,
            self._crash,
            self._power_failure,
            self._power_failure,
            self._control_crash,
            self._control_crash,
            self._worker_crash,
            self._freeze,
            self._freeze,
            self._move,
            self._move,
            self._step_clock,
            self._step_clock,
            self._back_up,
            self._roll_back,
            self._newcomer,
            self._newcomer,
            self._revoke,
            self._leave,
            self._founder_dies,
            self._mass_restart,
            self._change_routes,
            self._change_ciphers,
            self._change_policy,
            self._roll_charter,
            self._renew,
        )

    def happen(self) -> None:
        """Let one accident happen to a member that runs."""
        running = self._world.running()
        if running:
            kind = self._random.choice(self._kinds)
            kind(self._random.choice(running))

    def repair(self) -> None:
        """Set all clocks, wake who sleeps, start what is down."""
        for host in self._world.hosts.values():
            host.thaw_now()
            host.clock.wall_offset = 0.0
        for name, home in self._world.homes.items():
            home.fails_at = None
            if name not in self.gone:
                self._start(home)

    # --- processes and machines ---

    def _crash(self, home: MeshHome) -> None:
        """Crash, and start with another wall clock; perhaps the machine rebooted."""
        random, clock = self._random, home.host.clock
        home.lose_power() if random.random() < 0.5 else home.host.supervisor.crash()
        offset = random.choice((clock.wall_offset, 0.0, self._wrong_by(home)))
        if random.random() < 0.5:
            home.host.reboot_clock()
        self._later(
            random.choice((0.0, 0.01, 0.5, 10.0, 60.0)),
            lambda: self._start(home, wall_offset=offset),
        )

    def _power_failure(self, home: MeshHome) -> None:
        """Fail in the next step that keeps something."""
        home.fails_at = self._random.choice(list(Boundary))
        self._later(self._random.choice((5.0, 30.0)), lambda: self._start(home))

    def _control_crash(self, home: MeshHome) -> None:
        home.host.supervisor.crash_control()
        delay = self._random.choice((0.0, 0.1, 1.0, 20.0))
        self._later(delay, home.host.supervisor.start_control)

    def _worker_crash(self, home: MeshHome) -> None:
        role = self._random.choice(ROLES)
        home.host.supervisor.crash_worker(role)
        self._later(0.3, partial(home.host.supervisor.start_worker, role))

    def _freeze(self, home: MeshHome) -> None:
        seconds = self._random.choice((1.0, 6.0, 20.0, 130.0))
        home.host.freeze(seconds, deaf=self._random.random() < 0.5)

    def _move(self, home: MeshHome) -> None:
        """Take a new address, unless others count on the one they know.

        Two that both move while nobody they know stays where it was are lost to each
        other, whatever they do.
        """
        if not home.serves_as_rendezvous:
            home.move()

    def _step_clock(self, home: MeshHome) -> None:
        """Set the wall clock wrong while all runs."""
        step = self._wrong_by(home)
        home.host.note(f"the wall clock is {step:+.0f} s wrong")
        home.host.clock.wall_offset = step
        delay = self._random.choice((5.0, 60.0))
        self._later(delay, partial(self._set_clock, home))

    def _set_clock(self, home: MeshHome) -> None:
        home.host.note("the wall clock is right")
        home.host.clock.wall_offset = 0.0

    def _mass_restart(self, home: MeshHome) -> None:
        """All machines lose their power in one second, and come back."""
        for each in self._world.running():
            self._later(self._random.random(), each.lose_power)
            self._later(1.0 + 3.0 * self._random.random(), partial(self._start, each))

    # --- state ---

    def _back_up(self, home: MeshHome) -> None:
        self._backups[home.host.name] = home.disk.backup()

    def _roll_back(self, home: MeshHome) -> None:
        """Restart from an older backup, if there is one."""
        backup = self._backups.get(home.host.name)
        if backup is None:
            self._back_up(home)
            return
        home.host.note("its state is restored from a backup")
        home.lose_power()
        home.restore(backup)
        self._later(0.5, lambda: self._start(home))

    # --- membership ---

    def _newcomer(self, home: MeshHome) -> None:
        """Let a new host join; it, or the issuer, may crash on the way."""
        world, random = self._world, self._random
        issuer = world.homes[self._founder]
        if self._newcomers >= _MOST_NEWCOMERS or issuer.node is None:
            return
        self._newcomers += 1
        name = f"new{self._newcomers}"
        token = world.invite(self._founder)
        world.prepare(name)
        attempt = world.join(name, token)
        if random.random() < 0.3:
            issuer.fails_at = random.choice(list(Boundary))
            self._later(3.0, lambda: self._start(issuer))
        if random.random() < 0.3:
            self._later(random.choice((0.01, 0.1, 0.3)), attempt.kill)
        self._later(20.0, lambda: self._join_again(name, token, attempt))

    def _join_again(self, name: str, token: Token, attempt: JoinAttempt) -> None:
        """Whoever was killed, or gets no answer for long, runs the command again."""
        if name in self._world.homes:
            return
        attempt.kill()
        if self._founder not in self.gone:
            again = self._world.join(name, token)
            self._later(20.0, lambda: self._join_again(name, token, again))

    def _revoke(self, home: MeshHome) -> None:
        """Revoke a member while others shake hands with it."""
        name = home.host.name
        at = self._other_than(home)
        if at is None or name == self._founder or not self._can_spare(home):
            return
        self.gone.add(name)
        self._world.send(at.host.name, name)
        self._later(
            self._random.choice((0.0, 0.02, 0.05)),
            lambda: self._revoke_at(name, at),
        )

    def _revoke_at(self, name: str, at: MeshHome) -> None:
        if at.node is None or at.host.is_frozen:
            self.gone.discard(name)
            return
        self._world.revoke(name, at=at.host.name)

    def _leave(self, home: MeshHome) -> None:
        name = home.host.name
        if name == self._founder or not self._can_spare(home):
            return
        self.gone.add(name)
        home.host.note("says goodbye")
        home.running.leave(now=home.host.now, wall=home.wall)
        home.host.settle()
        self._later(2.0, home.host.supervisor.crash)

    def _founder_dies(self, home: MeshHome) -> None:
        """The node that everybody joined by dies for good."""
        founder = self._world.homes[self._founder]
        if self._random.random() < 0.7 or not self._can_spare(founder):
            return
        if not self._all_know_others():
            return  # who knows nobody but the founder would be lost without it
        founder.host.note("dies for good")
        self.gone.add(self._founder)
        founder.lose_power()

    def _renew(self, home: MeshHome) -> None:
        home.host.note("asks for a later certificate")
        home.running.renew_now(now=home.host.now, wall=home.wall)
        home.host.settle()

    # --- what is decided for all ---

    def _change_routes(self, home: MeshHome) -> None:
        """Announce what the certificate allows, or no longer, at another metric."""
        subnets = home.running.own.certificate.subnets
        routes: tuple[Route, ...] = ()
        if self._random.random() < 0.7:
            metric = self._random.choice((10, 100))
            routes = tuple(Route(subnet, metric) for subnet in subnets)
        home.announce(routes)

    def _change_policy(self, home: MeshHome) -> None:
        text = self._random.choice(_POLICIES)
        self._world.apply_policy(text, at=home.host.name)

    def _change_ciphers(self, home: MeshHome) -> None:
        """Prefer another cipher from now on, or none; perhaps after a restart."""
        other = () if home.settings.ciphers else FASTER
        home.host.note(f"prefers {[cipher.label for cipher in other]}")
        home.configure(replace(home.settings, ciphers=other))
        if self._random.random() < 0.5:
            home.host.supervisor.crash()
            self._later(0.5, lambda: self._start(home))

    def _roll_charter(self, home: MeshHome) -> None:
        """Publish another charter, perhaps where half the mesh cannot hear it."""
        chain = home.running.trust.chain()
        if chain == self._world.charters() and len(chain) < _MOST_CHARTERS:
            self._world.roll_charter(at=home.host.name)

    # --- means ---

    def _wrong_by(self, home: MeshHome) -> float:
        """Return an error of a wall clock.

        An issuer that is ahead would certify from a time on that is still to come for
        all others, whoever renews in that moment.
        """
        errors = [-1.0, 1.0, -_HOUR, -10 * _YEAR]
        if home.host.name != self._founder:
            errors += [_HOUR, 10 * _YEAR]
        return self._random.choice(errors)

    def _other_than(self, home: MeshHome) -> MeshHome | None:
        others = [each for each in self._world.running() if each is not home]
        return self._random.choice(others) if others else None

    def _all_know_others(self) -> bool:
        homes = [h for name, h in self._world.homes.items() if name not in self.gone]
        servers = [home.key for home in homes if home.serves_as_rendezvous]
        return all(
            home.node is not None
            and self._world.now - home.since > _PUBLISHED_AFTER
            and all(home.node.membership.by_key(key) is not None for key in servers)
            for home in homes
        )

    def _can_spare(self, home: MeshHome) -> bool:
        here = [h for name, h in self._world.homes.items() if name not in self.gone]
        serving = [h for h in here if h is not home and h.serves_as_rendezvous]
        return len(serving) >= _FEWEST

    def _start(self, home: MeshHome, *, wall_offset: float | None = None) -> None:
        if home.host.name in self.gone:
            return
        supervisor = home.host.supervisor
        if supervisor.workers is None:
            supervisor.switch_on(wall_offset=wall_offset)
        supervisor.start_control()
        for role in ROLES:
            supervisor.start_worker(role)

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        self._world.after(seconds, action)
