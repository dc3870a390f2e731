"""What a mesh node may do and see, and what others may see of it."""

import base64
import os
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from meshnode.manage.identity import load_authority, load_identity
from meshnode.mesh.token import parse_token
from tests.e2e.mesh_parts import NETWORK, MeshHost, Site
from topology.hosts import Lab

pytestmark = pytest.mark.root

CAP_NET_ADMIN = 1 << 12


@dataclass(frozen=True, slots=True)
class Mesh:
    """A founder, and a member that joined by the token."""

    founder: MeshHost
    member: MeshHost
    token: str

    def __iter__(self) -> Iterator[MeshHost]:
        return iter((self.founder, self.member))


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    """A founder and a member, whose files were made under the umask 000."""
    before = os.umask(0)
    try:
        with Lab() as lab:
            site = Site(lab)
            founder, member = site.host("founder"), site.host("member")
            founder.found()
            founder.configure(log_level="debug")
            founder.up()
            token = founder.invite()
            member.run("join", "-", "--name", "member", "--no-up", stdin=token)
            member.configure(log_level="debug")
            member.up()
            member.pings(founder)
            yield Mesh(founder, member, token)
    finally:
        os.umask(before)


def test_files_are_private_under_any_umask(mesh: Mesh) -> None:
    """Everything in state and run directories is for its owner alone."""
    for host in mesh:
        directories = host.directories
        for root in (host.state_dir, directories.run):
            for path in [root, *root.rglob("*")]:
                mode = path.lstat().st_mode
                expected = 0o700 if stat.S_ISDIR(mode) else 0o600
                assert stat.S_IMODE(mode) == expected, path
        assert stat.S_IMODE(host.config_file.stat().st_mode) & 0o077 == 0
        socket = directories.api_socket(NETWORK)
        assert stat.S_ISSOCK(socket.stat().st_mode)


# The interpreter may be where only root can read: everything is loaded before.
_AS_NOBODY = """
import os, shutil, sys, textwrap, encodings.idna
import meshnode.cli.main, meshnode.cli.show, meshnode.cli.up, meshnode.cli.invite
import meshnode.cli.route, meshnode.manage.api_client, meshnode.node.network
os.setgroups([]); os.setgid(65534); os.setuid(65534)
meshnode.cli.main.main()
"""


@pytest.mark.parametrize("words", ["status", "peers", "down", "up", "invite -n"])
def test_others_are_refused(mesh: Mesh, words: str) -> None:
    """Exit code 5, one line, and the node goes on, in directories open to all."""
    host = mesh.member
    directories = host.directories
    with _open_to_all(directories.config, directories.run, *directories.run.parents):
        result = host.host.run(
            [sys.executable, "-c", _AS_NOBODY, *words.split(), NETWORK],
            check=False,
            environment=host.variables,
        )
    assert result.returncode == 5, result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert host.is_ready()


@contextmanager
def _open_to_all(*paths: Path) -> Iterator[None]:
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in paths}
    for path in paths:
        path.chmod(modes[path] | 0o555)
    try:
        yield
    finally:
        for path in paths:
            path.chmod(modes[path])


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(re.split(r":\s*", line, maxsplit=1) for line in lines)


def test_processes_have_what_they_need_and_no_more(mesh: Mesh) -> None:
    """Control may change the network; the workers, which parse packets, nothing."""
    for host in mesh:
        roles = host.roles()
        expected = {"control": CAP_NET_ADMIN, "egress": 0, "ingress": 0}
        for role, capabilities in expected.items():
            status = _status(roles[role])
            for kind in ("CapEff", "CapPrm"):
                assert int(status[kind], 16) == capabilities, (role, kind)
            for kind in ("CapInh", "CapAmb", "CapBnd"):
                assert int(status[kind], 16) & ~capabilities == 0, (role, kind)
            assert status["NoNewPrivs"] == "1", role


def _secrets(host: MeshHost) -> dict[str, bytes]:
    """Return every secret that a node's files hold, raw."""
    identity = load_identity(host.state_dir)
    found = {"private key": identity.private_key.reveal()}
    for name in ("signing.key", "issuing.key", "authority.key"):
        path = host.state_dir / name
        if path.exists():
            text = path.read_bytes().split()[-1]
            found[name] = base64.b64decode(text)
    return found


def _shapes(secret: bytes) -> list[bytes]:
    plain = base64.b64encode(secret)
    url = base64.urlsafe_b64encode(secret)
    return [secret, plain, url, plain.rstrip(b"="), secret.hex().encode()]


def test_secrets_are_nowhere_to_be_seen(mesh: Mesh) -> None:
    """Not in arguments, environments or the fullest log; nor is a token."""
    secrets = _secrets(mesh.founder)
    secrets.update({f"member's {k}": v for k, v in _secrets(mesh.member).items()})
    secrets["invite"] = parse_token(mesh.token).invite_private.reveal()
    secrets["token"] = mesh.token.encode()
    assert len(secrets) == 8
    assert {len(secret) for name, secret in secrets.items() if name != "token"} == {32}
    assert load_authority(mesh.founder.state_dir)
    seen: dict[str, bytes] = {}
    for host in mesh:
        assert host.process is not None
        seen[f"log of {host}"] = host.process.output.encode()
        for role, pid in host.roles().items():
            for kind in ("cmdline", "environ"):
                data = Path(f"/proc/{pid}/{kind}").read_bytes()
                seen[f"{kind} of {role} of {host}"] = data
        for verb in ("status", "peers", "routes"):
            seen[f"{verb} of {host}"] = host.run(verb, "--json").stdout.encode()
    assert all(len(seen[f"log of {host}"]) > 300 for host in mesh)
    for name, secret in secrets.items():
        for shape in _shapes(secret):
            for where, data in seen.items():
                assert shape not in data, f"{name} in {where}"
