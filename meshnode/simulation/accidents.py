"""What happens to the hosts of a random scenario, and how it is put right again.

An accident with two parts (a key changes here, and is told there later) puts off its
second part. `repair` finishes what is half done when the troubles end.
"""

from collections.abc import Callable
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Final

from meshnode.crypto.keys import PresharedKey, PublicKey
from meshnode.simulation.workers import ROLES
from meshnode.values import frozen
from meshnode.wireguard.config import DeviceChange

if TYPE_CHECKING:
    from meshnode.simulation.host import SimulatedHost
    from meshnode.simulation.world import World

_YEAR: Final = 365 * 86400.0


@frozen
class _PutOff:
    """A second part: it waits until *host* is awake and, perhaps, has a control."""

    host: "SimulatedHost"
    action: Callable[[], None]
    needs_control: bool

    @property
    def is_possible(self) -> bool:
        lacks_control = self.needs_control and self.host.control is None
        return not self.host.is_frozen and not lacks_control


class Accidents:
    """Draws accidents for the hosts of *world*."""

    def __init__(self, world: "World", random: Random) -> None:
        self._world = world
        self._random = random
        self._put_off: dict[int, _PutOff] = {}
        self._number = 0
        self._kinds: tuple[Callable[[SimulatedHost], None], ...] = (
            self._node_crash,
            self._control_crash,
            self._worker_crash,
            self._freeze,
            self._move,
            self._link_down,
            self._new_preshared_key,
            self._new_private_key,
            self._keepalive,
            self._steal_allowed_ips,
            self._forget_peer,
            self._same_configuration,
        )

    def happen(self) -> None:
        """Let one accident happen to a host that runs."""
        running = [
            host
            for host in self._world.hosts.values()
            if host.control is not None and not host.is_frozen
        ]
        if running:
            kind = self._random.choice(self._kinds)
            kind(self._random.choice(running))

    def repair(self) -> None:
        """Wake what sleeps, start what is down, and finish what is half done."""
        for host in self._world.hosts.values():
            host.thaw_now()
        while self._put_off:
            for number in list(self._put_off):
                self._finish(number)

    # --- processes and machines ---

    def _node_crash(self, host: "SimulatedHost") -> None:
        """Crash, and start with another wall clock; perhaps the machine rebooted."""
        random = self._random
        host.supervisor.crash()
        now = host.clock.wall_offset
        offset = random.choice((now, now - 3600.0, 3600.0, -10 * _YEAR, 0.0))
        reboots = random.random() < 0.5

        def start() -> None:
            if reboots:
                host.reboot_clock()
            host.supervisor.switch_on(wall_offset=offset)

        self._later(host, random.choice((0.0, 0.5, 10.0, 100.0)), start)

    def _control_crash(self, host: "SimulatedHost") -> None:
        host.supervisor.crash_control()
        delay = self._random.choice((0.0, 0.1, 1.0, 30.0))
        self._later(host, delay, host.supervisor.start_control)

    def _worker_crash(self, host: "SimulatedHost") -> None:
        role = self._random.choice(ROLES)
        host.supervisor.crash_worker(role)
        self._later(host, 0.3, partial(host.supervisor.start_worker, role))

    def _freeze(self, host: "SimulatedHost") -> None:
        seconds = self._random.choice((1.0, 6.0, 20.0, 130.0, 200.0, 600.0))
        host.freeze(seconds, deaf=self._random.random() < 0.5)

    def _move(self, host: "SimulatedHost") -> None:
        host.move()

    def _link_down(self, host: "SimulatedHost") -> None:
        host.set_link(up=False)
        delay = self._random.choice((0.0, 2.0))
        self._tell(host, delay, partial(host.set_link, up=True))

    # --- configuration ---

    def _new_preshared_key(self, host: "SimulatedHost") -> None:
        """Change the key on one side, and on the other a little later."""
        other = self._any_peer(host)
        if other is None:
            return
        administrator = self._world.administrator
        pair = frozenset((host.name, other.name))
        administrator.preshared_keys[pair] = PresharedKey(self._random.randbytes(32))
        host.note(f"new preshared key with {other.name}")
        administrator.set_preshared_key(host.name, other.name)
        delay = self._random.choice((0.0, 1.0, 10.0))
        tell = partial(administrator.set_preshared_key, other.name, host.name)
        self._tell(other, delay, tell)

    def _new_private_key(self, host: "SimulatedHost") -> None:
        """Change our key, and tell the peers a little later."""
        old, new = host.public_key, self._world.new_key(host.name)
        host.note("new private key")
        host.configure(DeviceChange(private_key=new))
        delay = self._random.choice((0.0, 1.0, 10.0))
        for other in self._world.administrator.peers_of(host):
            self._tell(other, delay, partial(self._follow_key, other, host, old))

    def _follow_key(
        self, host: "SimulatedHost", peer: "SimulatedHost", old: PublicKey
    ) -> None:
        host.note(f"learns the new key of {peer.name}")
        self._world.administrator.remove_peer(host.name, old)
        self._world.administrator.add_peer(host.name, peer.name)

    def _keepalive(self, host: "SimulatedHost") -> None:
        other = self._any_peer(host)
        if other is not None:
            seconds = self._random.choice((0, 1, 5, 25))
            host.note(f"keepalive with {other.name}: {seconds} s")
            self._world.administrator.set_keepalive(host.name, other.name, seconds)

    def _steal_allowed_ips(self, host: "SimulatedHost") -> None:
        """Give a peer's prefixes to another peer, and back a little later."""
        administrator = self._world.administrator
        peers = administrator.peers_of(host)
        if len(peers) < 2:
            return
        owner, thief = (peer.name for peer in self._random.sample(peers, 2))
        host.note(f"{thief} gets the prefixes of {owner}")
        administrator.allow(host.name, thief, owner)
        delay = self._random.choice((1.0, 20.0))
        self._tell(host, delay, partial(administrator.allow, host.name, owner, owner))

    def _forget_peer(self, host: "SimulatedHost") -> None:
        """Remove a peer, and add it again a little later."""
        other = self._any_peer(host)
        if other is None:
            return
        administrator = self._world.administrator
        host.note(f"removes {other.name}")
        administrator.remove_peer(host.name, other.public_key)
        delay = self._random.choice((0.0, 5.0, 50.0))
        add = partial(administrator.add_peer, host.name, other.name)
        self._tell(host, delay, add)

    def _same_configuration(self, host: "SimulatedHost") -> None:
        """Apply what is already so: it must disturb nothing."""
        host.configure(DeviceChange(private_key=host.private_key))

    # --- second parts ---

    def _any_peer(self, host: "SimulatedHost") -> "SimulatedHost | None":
        peers = self._world.administrator.peers_of(host)
        return self._random.choice(peers) if peers else None

    def _later(
        self, host: "SimulatedHost", seconds: float, action: Callable[[], None]
    ) -> None:
        """Do something to the machine of *host* in a while."""
        self._enter(seconds, _PutOff(host, action, needs_control=False))

    def _tell(
        self, host: "SimulatedHost", seconds: float, action: Callable[[], None]
    ) -> None:
        """Configure *host* in a while, when it can be."""
        self._enter(seconds, _PutOff(host, action, needs_control=True))

    def _enter(self, seconds: float, put_off: _PutOff) -> None:
        self._number += 1
        number = self._number
        self._put_off[number] = put_off
        self._world.after(seconds, lambda: self._finish(number))

    def _finish(self, number: int) -> None:
        put_off = self._put_off.get(number)
        if put_off is None:
            return
        if put_off.is_possible:
            del self._put_off[number]
            put_off.action()
        else:
            self._world.after(1.0, lambda: self._finish(number))
