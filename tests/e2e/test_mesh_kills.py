"""kill -9 at random moments, of everything: no acknowledged change is ever lost.

Acknowledged is what a command that exited with 0, or a reply of the node, told. What
was cut short may have happened or not, but not half, and asking again does it once.

The seed is that of the run. The times of coming back are printed; on a machine that
has other work they promise nothing.
"""

import itertools
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from statistics import median

import pytest

from meshnode.errors import MeshnodeError
from meshnode.manage.identity import NotMemberError, load_identity, load_joining
from meshnode.manage.network_config import load_config
from meshnode.mesh.token import parse_token
from tests.e2e.mesh_parts import (
    CIDR,
    NETWORK,
    PATIENCE,
    MeshHost,
    Site,
    found_mesh,
    kill_process,
    leftovers,
    traces,
)
from topology.hosts import HostState, Lab, wait_until
from topology.processes import Process

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(900)]

BACK_WITHIN = 20.0
"""Seconds; two on a calm machine."""

WORKERS = ("control", "egress", "ingress")

_numbers = itertools.count(1)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """One thread for what is under way while a process is killed."""
    with ThreadPoolExecutor(1) as executor:
        yield executor


class Times:
    """How long processes took to be started again, and nodes to be ready."""

    def __init__(self) -> None:
        self._started: dict[str, list[float]] = {}
        self._ready: dict[str, list[float]] = {}

    def note(self, role: str, started: float, ready: float) -> None:
        """Note the seconds of one."""
        self._started.setdefault(role, []).append(started)
        self._ready.setdefault(role, []).append(ready)

    @property
    def count(self) -> int:
        """How many kills there were."""
        return sum(map(len, self._started.values()))

    def __str__(self) -> str:
        return "\n".join(
            f"{role}: {len(self._started[role])} kills; "
            f"started again: {_spread(self._started[role])}; "
            f"ready: {_spread(self._ready[role])}"
            for role in sorted(self._started)
        )


def _spread(seconds: list[float]) -> str:
    soon = sum(one <= 2 for one in seconds)
    return (
        f"{min(seconds):.2f} to {max(seconds):.2f} s, median {median(seconds):.2f} s, "
        f"{soon} within 2 s"
    )


def kill_role(host: MeshHost, role: str, times: Times) -> None:
    """Kill one process of a node, and see it come back.

    After the end of its supervisor a node is started again by hand.
    """
    roles = host.roles()
    assert {"supervisor", *WORKERS} <= set(roles), roles
    supervisor = roles["supervisor"]
    began = time.monotonic()
    kill_process(roles[role])
    if role == "supervisor":
        wait_until(lambda: not host.pids(), f"{host} ends", timeout=BACK_WITHIN)
        assert host.process is not None
        host.process.wait()
        began = time.monotonic()
        host.begin_up()
    wait_until(
        lambda: host.roles().get(role, roles[role]) != roles[role],
        f"{role} of {host} is back",
        timeout=BACK_WITHIN,
    )
    started = time.monotonic() - began
    host.await_ready()
    times.note(role, started, time.monotonic() - began)
    assert role == "supervisor" or host.roles()["supervisor"] == supervisor


class Administration:
    """What an administrator did at a founder, and was told that it is done."""

    def __init__(self, founder: MeshHost, rng: random.Random) -> None:
        self.founder = founder
        self._rng = rng
        self.invites: set[str] = set()
        self.devices: set[str] = set()
        self.revoked: set[str] = set()
        self.policy = (0, "")
        self.doubts = 0

    def actions(self) -> list[Callable[[], None]]:
        """Return what can be done now; each ends with a reply, or raises."""
        found = [self.invite, self.add_device, self.apply_policy, self.revoke_invite]
        return [*found, self.revoke_device] if self.devices else found

    def invite(self) -> None:
        """Make an invite."""
        reply = self.founder.ask(
            "invite create", uses=1, expires=int(time.time()) + 3600, lifetime=86400
        )
        self.invites.add(reply["key"])

    def revoke_invite(self) -> None:
        """Revoke any invite: it is gone from those that must be open."""
        if self.invites:
            key = self._rng.choice(sorted(self.invites))
            self.invites.discard(key)
            self.founder.ask("invite revoke", key=key)

    def add_device(self) -> None:
        """Certify a stock device."""
        name = f"device-{next(_numbers)}"
        key = _public_key(self._rng)
        self.founder.ask("peer add", key=key, name=name, roles=["stock"], gateways=[])
        self.devices.add(name)

    def revoke_device(self) -> None:
        """Revoke a device; until that is acknowledged it may be there or not."""
        name = self._rng.choice(sorted(self.devices))
        self.devices.discard(name)
        self.founder.ask("cert revoke", member=name, reason="lost")
        self.revoked.add(name)

    def apply_policy(self) -> None:
        """Put another policy in force."""
        text = f'# {next(_numbers)}\ndefault = "allow"\n'
        reply = self.founder.ask("policy apply", text=text)
        self.policy = (reply["version"], text)

    def check(self) -> None:
        """Compare with what the founder knows now."""
        invites = self.founder.ask("invite list")["invites"]
        states = {one["key"]: one["state"] for one in invites}
        lost = {key for key in self.invites if states.get(key) != "open"}
        assert not lost, f"invites are lost: {lost}"
        members = set(self.founder.peers())
        assert self.devices <= members, f"lost: {self.devices - members}"
        assert not self.revoked & members, f"back: {self.revoked & members}"
        shown = self.founder.ask("policy show")
        assert shown["version"] >= self.policy[0]
        if shown["version"] == self.policy[0]:
            assert shown["text"] == self.policy[1]
        self.policy = (shown["version"], shown["text"])


def _public_key(rng: random.Random) -> str:
    from meshnode.crypto.keys import PrivateKey

    return str(PrivateKey(rng.randbytes(32)).public_key())


def _victim(rng: random.Random) -> str:
    return rng.choices(("control", "egress", "ingress", "supervisor"), (5, 1, 1, 2))[0]


def _ended(future: "Future[None]") -> bool:
    """Wait for an action; return whether it was acknowledged."""
    try:
        future.result(PATIENCE)
    except MeshnodeError:
        return False
    return True


@pytest.mark.parametrize("part", [1, 2, 3])
def test_administration_survives_kills(
    lab: Lab, pool: ThreadPoolExecutor, rng: random.Random, seed: int, part: int
) -> None:
    """Invites, certificates, revocations and policy, while the issuer is killed."""
    print(f"seed {seed}, part {part}")
    site = Site(lab)
    founder = site.host("founder")
    before = traces(founder.host)
    founder.found()
    founder.up()
    member = site.host("member")
    member.join(founder.invite())
    administration = Administration(founder, rng)
    times, acknowledged = Times(), 0
    for _ in range(30):
        role = _victim(rng)
        action = rng.choice(administration.actions())
        delay = rng.choice((0.004, 0.04)) * rng.random()
        under_way = pool.submit(action)
        time.sleep(delay)
        kill_role(founder, role, times)
        was_acknowledged = _ended(under_way)
        acknowledged += was_acknowledged
        try:
            administration.check()
        except AssertionError as error:
            raise AssertionError(
                f"after {action.__name__} and the end of {role} {delay * 1e3:.1f} ms "
                f"later: {error}"
            ) from None
    print(f"{times}\nacknowledged all the same: {acknowledged}")
    assert 0 < acknowledged < times.count
    wait_until(
        lambda: member.status()["recordsDigest"] == founder.status()["recordsDigest"],
        "the member knows the same",
        timeout=PATIENCE,
    )
    assert not administration.revoked & set(member.peers())
    member.pings(founder)
    member.down()
    founder.down()
    assert leftovers(founder.host, before) == []


def test_joins_survive_kills_of_the_issuer(
    lab: Lab, rng: random.Random, seed: int
) -> None:
    """A join goes through, or does when tried again; an invite lets in one host."""
    print(f"seed {seed}")
    site = Site(lab)
    (founder,) = found_mesh(site, "founder")
    joiner, rival = site.host("joiner"), site.host("rival")
    times, tries = Times(), 0
    for number in range(16):
        token = founder.invite()
        key = str(parse_token(token).invite_private.public_key())
        name = f"guest-{number}"
        words = ("join", "--name", name, "--no-up", "--timeout", "8", token)
        joining = joiner.start(*words)
        role = _victim(rng)
        time.sleep(0.2 + 0.6 * rng.random())
        kill_role(founder, role, times)
        status = joining.wait(PATIENCE)
        for _ in range(4):
            if status == 0:
                break
            tries += 1
            result = joiner.run(*words, check=False)
            status = result.returncode
        assert status == 0, f"{name}, {role}: {joining.output} {result.stderr}"
        certified = load_identity(joiner.state_dir).certificate
        assert _used(founder)[key] == 1
        code, line = rival.refusal(*words)
        assert (code, "used" in line) == (1, True)
        # Who has it is given the same again.
        joiner.run(*words)
        assert load_identity(joiner.state_dir).certificate == certified
        _forget(joiner)
        _forget(rival)
    print(f"{times}\njoins that were tried again: {tries}")
    founder.down()


def _forget(host: MeshHost) -> None:
    """Let a host be one that was in no network."""
    host.config_file.unlink(missing_ok=True)
    shutil.rmtree(host.state_dir, ignore_errors=True)


def _kill_soon(
    rng: random.Random, process: Process, is_at_work: Callable[[], bool], most: float
) -> int | None:
    """Kill a command at most *most* seconds after it began to work, or before.

    Returns its exit status, None if it was killed.
    """
    if rng.random() < 0.1:
        time.sleep(0.2 * rng.random())
    else:
        while not is_at_work() and process.is_running:
            time.sleep(0.001)
        time.sleep(most * rng.random())
    process.signal(signal.SIGKILL)
    status = process.wait()
    return None if status == -signal.SIGKILL else status


def test_founding_survives_kills(lab: Lab, rng: random.Random, seed: int) -> None:
    """A network is there whole once the command says so, and can be made until then."""
    print(f"seed {seed}")
    site = Site(lab)
    host = site.host("founder")
    words = ("network", "create", NETWORK, "--cidr", CIDR, "--no-passphrase")
    killed, halves = 0, 0
    longest = 0.03  # seconds from its first file to the kill; it shall not be done
    for _ in range(40):
        _forget(host)
        process = host.start(*words, "--name", host.name)
        status = _kill_soon(rng, process, host.config_file.exists, longest)
        killed += status is None
        try:
            identity = load_identity(host.state_dir)
        except NotMemberError:
            assert status is None
            halves += bool(host.files())
            longest *= 1.1
            host.run(*words, "--name", host.name)
            identity = load_identity(host.state_dir)
        else:
            longest *= 0.8
        assert identity.issuing is not None
        assert load_config(host.config_file).interface == NETWORK
    print(f"network create: {killed} kills, {halves} while it wrote")
    assert halves > 3
    host.up()
    assert host.status()["isIssuer"]
    host.down()


def test_joins_survive_their_own_kills(lab: Lab, rng: random.Random, seed: int) -> None:
    """A join that was killed goes on where it stopped, with the same single use."""
    print(f"seed {seed}")
    site = Site(lab)
    (founder,) = found_mesh(site, "founder")
    joiner = site.host("joiner")
    kills, halves = 0, 0
    longest = 0.15  # seconds from its first file to the kill; a join shall not be done
    for number in range(14):
        words = ("join", "--name", f"guest-{number}", "--no-up", founder.invite())
        key = str(parse_token(words[-1]).invite_private.public_key())
        pending = joiner.state_dir / "joining"
        seeds = set[bytes]()
        for _ in range(3):
            process = joiner.start(*words)
            status = _kill_soon(rng, process, pending.exists, longest)
            kills += status is None
            found = load_joining(joiner.state_dir)
            if found is not None:
                halves += 1
                seeds.add(found.keys.signing_seed)
            longest *= 0.8 if found is None else 1.1
            if status == 0:
                break
        joiner.run(*words)
        assert len(seeds) <= 1, "another host asked"
        assert _used(founder)[key] == 1
        _forget(joiner)
    assert len(founder.peers()) == 0 or set(_used(founder).values()) == {1}
    print(f"join: {kills} kills, {halves} while it had not joined")
    assert halves > 10
    founder.down()


def _used(founder: MeshHost) -> dict[str, int]:
    """Return how often each invite was used."""
    invites = founder.ask("invite list")["invites"]
    return {one["key"]: one["used"] for one in invites}


def test_invites_survive_kills_of_the_command(
    lab: Lab, rng: random.Random, seed: int
) -> None:
    """Every token that was printed lets somebody in; others are at most unused."""
    print(f"seed {seed}")
    site = Site(lab)
    (founder,) = found_mesh(site, "founder")
    printed, killed, known = set[str](), 0, 0
    for begun in range(1, 26):
        process = founder.start("invite", "-n", NETWORK)
        status = _kill_soon(
            rng,
            process,
            lambda known=known: len(_used(founder)) > known,  # type: ignore[misc]
            0.01,
        )
        killed += status is None
        tokens = [line for line in process.output.split() if line.startswith("mn1")]
        printed.update(
            str(parse_token(token).invite_private.public_key()) for token in tokens
        )
        assert tokens or status is None
        known = len(_used(founder))
        assert known <= begun
    invites = founder.ask("invite list")["invites"]
    states = {one["key"]: one["state"] for one in invites}
    assert {states[key] for key in printed} <= {"open"}
    print(f"invite: {killed} kills")
    assert killed > 5
    founder.down()


def test_routes_survive_kills(lab: Lab, rng: random.Random, seed: int) -> None:
    """What `route` has changed is announced, whatever of the gateway is killed."""
    print(f"seed {seed}")
    site = Site(lab)
    founder, gateway = site.host("founder"), site.host("gateway")
    before: tuple[HostState, dict[str, str]] = traces(gateway.host)
    founder.found()
    founder.configure(log_level="info")
    founder.up()
    gateway.join(founder.invite("--route", "10.50.0.0/16"))
    times = Times()
    announced: set[str] = set()
    began = time.monotonic()
    gateway.run("route", "list")
    long = time.monotonic() - began
    for number in range(20):
        prefix = f"10.50.{number}.0/24"
        if announced and rng.random() < 0.3:
            prefix = rng.choice(sorted(announced))
            words = ("route", "remove", prefix)
        else:
            words = ("route", "add", prefix)
        process = gateway.start(*words)
        time.sleep(1.5 * long * rng.random())
        role = _victim(rng)
        kill_role(gateway, role, times)
        if process.wait(PATIENCE) != 0:
            gateway.run(*words)
        if words[1] == "add":
            announced.add(prefix)
        else:
            announced.discard(prefix)
        config = load_config(gateway.config_file)
        assert {str(one.prefix) for one in config.announced} == announced
        _await_routes(gateway, announced, f"{words}, {role}")
    _await_routes(founder, announced, "the founder")
    print(times)
    gateway.kill()
    gateway.run("cleanup")
    assert leftovers(gateway.host, before) == []
    gateway.up()
    _await_routes(gateway, announced, "after all")
    gateway.down()
    assert leftovers(gateway.host, before) == []
    founder.down()


def _await_routes(host: MeshHost, announced: set[str], what: str) -> None:
    wait_until(
        lambda: set(host.routes()) == announced,
        f"{what}: {sorted(announced)} announced, {sorted(host.routes())} known",
        timeout=PATIENCE,
    )


def test_everything_is_taken_back_after_kills(
    lab: Lab, rng: random.Random, seed: int
) -> None:
    """Routes, rules, tables, variables: gone after all died at once, and cleaned up."""
    print(f"seed {seed}")
    site = Site(lab)
    founder, gateway, user = (site.host(n) for n in ("founder", "gateway", "user"))
    before = {host.name: traces(host.host) for host in (gateway, user)}
    founder.found()
    founder.up()
    gateway.join(founder.invite("--route", "10.50.0.0/16"))
    gateway.run("route", "add", "10.50.0.0/24")
    user.join(founder.invite(), "--accept-routes")
    kills = 0
    for number in range(8):
        wait_until(lambda: "10.50.0.0/24" in user.routes(), "the route is known")
        if number % 2:
            wait_until(lambda: _is_taken(user, "10.50.0.0/24"), "it is taken")
        for host in (gateway, user):
            pids = host.pids()
            rng.shuffle(pids)
            for pid in pids:
                kill_process(pid)
                kills += 1
                time.sleep(rng.choice((0, 0.01)) * rng.random())
            host.kill()
            host.run("cleanup")
            assert leftovers(host.host, before[host.name]) == []
            host.up()
    print(f"{kills} kills")
    for host in (gateway, user, founder):
        host.down()
    for host in (gateway, user):
        assert leftovers(host.host, before[host.name]) == []


def _is_taken(host: MeshHost, prefix: str) -> bool:
    return prefix in host.host.run("ip route show table all").stdout
