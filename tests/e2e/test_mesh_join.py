"""Joining a mesh by the command line: who gets in, how, and what a refusal leaves."""

import base64
import itertools
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshnode.mesh.token import parse_token
from tests.e2e.mesh_parts import (
    LISTEN_PORT,
    NETWORK,
    MeshHost,
    Site,
    await_acquainted,
    is_overlay,
)
from topology.hosts import Lab, wait_until

pytestmark = pytest.mark.root

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A segment for all tests of this file."""
    with Lab() as lab:
        yield Site(lab)


@pytest.fixture(scope="module")
def founder(site: Site) -> MeshHost:
    """The founder of the network, up, with a log of everything."""
    host = site.host("founder")
    host.found()
    host.configure(log_level="debug")
    host.up()
    return host


@pytest.fixture
def host(site: Site) -> Iterator[MeshHost]:
    """A host that is no member yet; its node is stopped at the end."""
    joiner = site.host(f"host-{next(_numbers)}")
    yield joiner
    joiner.run("down", NETWORK, check=False)
    joiner.await_end()


def test_three_hosts_join_and_talk(site: Site, founder: MeshHost) -> None:
    """A node that `join` has started passes traffic at once, and all know each other.

    The seconds are printed; they are no promise on a busy machine.
    """
    hosts = [site.host(name) for name in ("ann", "ben", "cem")]
    for host in hosts:
        token = founder.invite()
        began = time.monotonic()
        output = host.run("join", token, "--name", host.name).stdout
        returned = time.monotonic()
        assert output.startswith(f"joined {NETWORK} as {host.name}: 10.77.")
        host.pings(founder, 2.0)
        print(
            f"{host.name}: joined in {returned - began:.2f} s, "
            f"first answer {time.monotonic() - returned:.3f} s later"
        )
    await_acquainted([founder, *hosts])
    for one, other in itertools.permutations(hosts, 2):
        one.pings(other)
        assert one.answers(other.address6, within=5)
    for host in hosts:
        host.down()


def test_member_is_as_it_was_invited(founder: MeshHost, host: MeshHost) -> None:
    """Name, groups and prefixes come with the invite, whatever the joiner says."""
    options = ("--name", "printer", "--group", "staff", "--route", "192.168.7.0/24")
    host.join(founder.invite(*options))
    status = host.json("status")
    assert (status["name"], status["groups"]) == ("printer", ["staff"])
    assert status["subnets"] == ["192.168.7.0/24"]
    assert is_overlay(status["ipv4"])
    assert status["health"] == []
    wait_until(lambda: "printer" in founder.peers(), "the founder knows it")


@pytest.mark.parametrize("source", ["standard input", "file"])
def test_token_need_not_be_typed(
    founder: MeshHost, host: MeshHost, tmp_path: Path, source: str
) -> None:
    """Line feeds around it do no harm."""
    text = f"\n{founder.invite()}\n"
    name = ("--name", host.name)
    if source == "file":
        token = tmp_path / "token"
        token.write_text(text)
        host.run("join", "--invite", f"file:{token}", *name)
    else:
        host.run("join", "-", *name, stdin=text)
    host.pings(founder)


def test_bootstrap_takes_the_place_of_the_tokens_addresses(
    founder: MeshHost, host: MeshHost
) -> None:
    """Nobody is where it says, or the issuer is; the configuration keeps it."""
    token = founder.invite()
    code, line = host.refusal(
        *("join", "--bootstrap", "198.18.0.250:7", "--invite", token),
        *("--name", host.name, "--timeout", "2"),
    )
    assert code == 4
    assert "198.18.0.250:7" in line
    place = f"{founder.port.v4}:{LISTEN_PORT}"
    host.run("join", "--bootstrap", place, "--invite", token, "--name", host.name)
    host.pings(founder)
    assert place in host.config_file.read_text()


def _cut(token: str) -> str:
    return token[: len(token) // 2]


def _changed(token: str) -> str:
    other = "b" if token[-5] != "b" else "c"
    return f"{token[:-5]}{other}{token[-4:]}"


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (_cut, "cut short or mistyped"),
        (_changed, "cut short or mistyped"),
        (lambda token: "hello", "no invite"),
        (lambda token: "", "no invite"),
    ],
)
def test_spoilt_token_is_refused(
    founder: MeshHost, host: MeshHost, spoil: object, word: str
) -> None:
    """A copy that lost something is told from an invite that does not hold."""
    assert callable(spoil)
    before = host.files()
    code, line = host.refusal("join", "-", stdin=spoil(founder.invite()))
    assert code == 1
    assert word in line
    assert host.files() == before


@pytest.mark.parametrize("why", ["used", "expired", "revoked"])
def test_invite_that_holds_no_more_is_refused(
    site: Site, founder: MeshHost, host: MeshHost, why: str
) -> None:
    """The issuer says which it is; the host is as if it had never asked."""
    if why == "expired":
        token = founder.invite("--expires", "1s")
        time.sleep(2.1)
    else:
        token = founder.invite()
    if why == "used":
        first = site.host(f"first-{next(_numbers)}")
        first.run("join", "-", "--no-up", "--name", first.name, stdin=token)
    elif why == "revoked":
        key = str(parse_token(token).invite_private.public_key())
        founder.run("invite", "revoke", key[:10])
    before = host.files()
    code, line = host.refusal("join", "-", "--name", host.name, stdin=token)
    assert code == 1
    assert why in line
    assert host.files() == before
    assert host.pids() == []


def test_long_expired_token_is_refused_without_asking(
    site: Site, founder: MeshHost, host: MeshHost
) -> None:
    """A host whose clock is right needs no issuer to know."""
    token = parse_token(founder.invite())
    old = type(token)(
        network_id=token.network_id,
        invite_private=token.invite_private,
        issuer_key=token.issuer_key,
        endpoints=("198.18.0.250:7",),
        expires=int(time.time()) - 3600,
        network=token.network,
    )
    before = host.files()
    code, line = host.refusal("join", "-", stdin=old.serialise())
    assert (code, "expired" in line) == (1, True)
    assert host.files() == before


def test_foreign_token_is_refused(
    site: Site, founder: MeshHost, host: MeshHost
) -> None:
    """A member does not leave its network for another one of the same name."""
    other = site.host(f"other-{next(_numbers)}")
    other.found()
    other.up()
    host.join(founder.invite())
    before = _own(host.files())
    code, line = host.refusal("join", "-", "--name", host.name, stdin=other.invite())
    assert code == 1
    assert "foreign" in line
    assert _own(host.files()) == before
    other.down()


def _own(files: dict[str, bytes]) -> dict[str, bytes]:
    """Return the files that a running node does not write by itself."""
    return {
        name: data
        for name, data in files.items()
        if not name.startswith(("STATE/home/state.db", "STATE/timestamps", "RUN"))
    }


def test_joining_again_changes_nothing(founder: MeshHost, host: MeshHost) -> None:
    """The same answer, the same files, and the node that runs goes on."""
    token = founder.invite()
    words = ("join", "-", "--name", host.name, "--json")
    first = host.run(*words, stdin=token).stdout
    before, pids = _own(host.files()), host.roles()
    assert host.run(*words, stdin=token).stdout == first
    assert _own(host.files()) == before
    assert host.roles() == pids
    host.run("down", NETWORK)
    assert host.run(*words, stdin=token).stdout == first
    host.pings(founder)


def test_taken_name_is_refused_and_another_one_is_not(
    founder: MeshHost, host: MeshHost
) -> None:
    """The invite is not used up by it."""
    token = founder.invite()
    before = host.files()
    code, line = host.refusal("join", "-", "--name", "founder", stdin=token)
    assert code == 1
    assert "founder is taken" in line
    assert host.files() == before
    host.run("join", "-", "--name", host.name, stdin=token)
    host.pings(founder)
    assert host.status()["name"] == host.name


def test_issuer_that_is_not_there_is_told(
    site: Site, founder: MeshHost, host: MeshHost
) -> None:
    """Exit code 4; once it is back the same token does."""
    token = founder.invite()
    site.lan.unplug(host.host)
    words = ("join", "-", "--name", host.name)
    code, line = host.refusal(*words, "--timeout", "1.5", stdin=token)
    assert (code, "no answer" in line) == (4, True)
    assert host.pids() == []
    site.lan.plug(host.host)
    host.run(*words, stdin=token)
    host.pings(founder)


def _command_lines(host: MeshHost) -> list[bytes]:
    lines = []
    for pid in host.host.processes():
        try:
            lines.append(Path(f"/proc/{pid}/cmdline").read_bytes())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return lines


@pytest.mark.parametrize("on_command_line", [False, True])
def test_nobody_sees_the_token_of_a_join_that_waits(
    site: Site, founder: MeshHost, host: MeshHost, on_command_line: bool
) -> None:
    """Typed on the command line it is overwritten before the issuer is asked."""
    token = founder.invite()
    file = host.directories.config / "token"
    file.write_text(token)
    site.lan.unplug(host.host)
    source = token if on_command_line else f"file:{file}"
    name = ("--name", host.name)
    join = host.start("join", "--invite", source, *name, "--timeout", "20")
    pending = host.state_dir / "joining"

    def shown() -> bool:
        return any(token.encode() in line for line in _command_lines(host))

    while not pending.exists():
        assert join.is_running, join.output
        assert on_command_line or not shown()
        time.sleep(0.005)
    for _ in range(20):
        assert not shown()
        time.sleep(0.01)
    # Kept for the next attempt, and for nobody else.
    assert stat.S_IMODE(pending.stat().st_mode) == 0o600
    site.lan.plug(host.host)
    assert join.wait(30) == 0
    file.unlink()
    assert not pending.exists()
    secrets = (
        token.encode(),
        parse_token(token).invite_private.reveal(),
        base64.b64encode(parse_token(token).invite_private.reveal()),
        parse_token(token).invite_private.reveal().hex().encode(),
    )
    assert founder.process is not None
    everything = {
        **host.files(),
        **{f"founder/{name}": data for name, data in founder.files().items()},
        "the founder's log": founder.process.output.encode(),
        "the joiner's output": join.output.encode(),
    }
    for secret in secrets:
        for where, data in everything.items():
            assert secret not in data, where
