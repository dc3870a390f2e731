"""What an authority's key does, with the node up and down."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meshnode.crypto import passphrase as passphrases
from meshnode.crypto.keys import PublicKey
from meshnode.crypto.signing import SigningKey
from meshnode.errors import ConfigError, CryptoError, UsageError
from meshnode.manage.identity import NotMemberError, load_identity
from meshnode.manage.papers import describe_text
from meshnode.manage.paths import Directories
from meshnode.mesh.delegation import IssuerRequest, serialise_issuer_request
from meshnode.node import authority
from meshnode.node.authority import (
    Permission,
    add_authority,
    install_issuer,
    list_authorities,
    remove_authority,
    request_issuer,
    revoke,
    show_charter,
    sign_issuer,
)
from meshnode.types import Prefix
from tests.founded_node import RunningNode, directories_in, found_home

DAY = 86400
SOME = Permission(
    pools=(Prefix.parse("10.77.8.0/24"),),
    groups=("staff",),
    subnets=(Prefix.parse("192.168.0.0/16"),),
    roles=("relay", "rendezvous"),
    max_lifetime=30 * DAY,
    lifetime=365 * DAY,
)


class Secret:
    """A passphrase that counts how often it was asked for."""

    def __init__(self, text: bytes = b"correct horse") -> None:
        self.text = text
        self.asked = 0

    def ask(self, *, is_new: bool) -> bytes:
        """Return it."""
        assert not is_new
        self.asked += 1
        return self.text


class Nobody:
    """No passphrase: nothing sealed may be opened."""

    def ask(self, *, is_new: bool) -> bytes:
        """Refuse."""
        raise UsageError("a passphrase is needed")


PLAIN: Any = {"key_file": None, "passphrase": Nobody()}


@pytest.fixture
def host(tmp_path: Path) -> Directories:
    """A host whose network `home` has its authority's key in clear; it is down."""
    directories = directories_in(tmp_path)
    found_home(directories)
    return directories


@pytest.fixture
def running(
    host: Directories, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RunningNode]:
    """The same, up."""
    node = RunningNode(host)
    monkeypatch.setattr(authority, "call", node.call)
    yield node
    node.close()


def keys_of(host: Directories) -> list[str]:
    """Return the authorities' keys."""
    return [one["key"] for one in show_charter("home", host)["authorities"]]


def test_the_charter_is_the_same_up_and_down(
    host: Directories, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node tells what its state holds."""
    node = RunningNode(host)
    with monkeypatch.context() as patch:
        patch.setattr(authority, "call", node.call)
        up = show_charter("home", host)
    node.close()
    assert show_charter("home", host) == up
    assert up["network"] == "home"
    (only,) = up["authorities"]
    assert only["issuers"] == ["gate"]


def test_an_authority_is_added_while_the_node_is_down(host: Directories) -> None:
    """Its next start knows the new charter; the new key is as clear as the old."""
    before = keys_of(host)
    added = add_authority("home", host, **PLAIN)
    assert keys_of(host) == [*before, added["key"]]
    assert added["version"] == 2
    file = Path(added["file"])
    assert file.name == "authority-2.key"
    assert file.stat().st_mode & 0o777 == 0o600
    node = RunningNode(host)
    assert node.node.trust.charter.version == 2
    node.close()


def test_an_authority_is_added_while_the_node_is_up(
    host: Directories, running: RunningNode
) -> None:
    """The node has the charter at once."""
    added = add_authority("home", host, **PLAIN)
    keys = [str(PublicKey(key)) for key in running.node.trust.charter.authorities]
    assert keys[1] == added["key"]
    listed = list_authorities("home", host)["authorities"]
    assert [Path(one["file"]).name for one in listed] == [
        "authority.key",
        "authority-2.key",
    ]


def test_a_sealed_key_is_followed_by_a_sealed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the same passphrase, asked for once."""
    monkeypatch.setattr(passphrases, "OPERATIONS", 1)
    monkeypatch.setattr(passphrases, "MEMORY", 8192)
    host = directories_in(tmp_path)
    found_home(host, b"correct horse")
    with pytest.raises(CryptoError):
        add_authority("home", host, key_file=None, passphrase=Secret(b"wrong"))
    with pytest.raises(UsageError):
        add_authority("home", host, **PLAIN)
    assert len(keys_of(host)) == 1
    secret = Secret()
    added = add_authority("home", host, key_file=None, passphrase=secret)
    assert secret.asked == 1
    file = Path(added["file"])
    assert file.read_text().startswith("meshnode sealed signing key 1\n")
    # And it works alone.
    (host.state_dir("home") / "authority.key").unlink()
    add_authority("home", host, key_file=file, passphrase=Secret())
    assert len(keys_of(host)) == 3


def test_a_network_has_four_authorities_at_most(host: Directories) -> None:
    """The fifth is refused before a key is made."""
    for _ in range(3):
        add_authority("home", host, **PLAIN)
    with pytest.raises(ConfigError, match="at most 4"):
        add_authority("home", host, **PLAIN)
    assert not (host.state_dir("home") / "authority-5.key").exists()


def test_an_authority_on_which_members_stand_is_not_removed_by_mistake(
    host: Directories, running: RunningNode
) -> None:
    """Rolling over takes every step; skipping them takes --force."""
    (old,) = keys_of(host)
    added = add_authority("home", host, **PLAIN)
    with pytest.raises(ConfigError, match="through gate: sign these issuers"):
        remove_authority("home", host, old, despite=False, **PLAIN)
    removed = remove_authority("home", host, added["key"][:8], despite=False, **PLAIN)
    assert removed["key"] == added["key"]
    assert keys_of(host) == [old]
    assert running.node.trust.charter.version == 3


def test_a_founder_rolls_over_to_another_authority(
    host: Directories, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Add, sign the issuer again, renew, remove: then the old key is worth nothing."""
    (old,) = keys_of(host)
    added = add_authority("home", host, **PLAIN)
    permission = Permission(
        pools=(Prefix.parse("10.77.0.0/16"),),
        groups=("staff",),
        subnets=(Prefix.parse("0.0.0.0/0"),),
        roles=("relay", "rendezvous", "issuer", "policy"),
        max_lifetime=400 * DAY,
        lifetime=1800 * DAY,
    )
    signed, _ = sign_issuer(
        "home",
        host,
        request_issuer("home", host),
        permission,
        key_file=Path(added["file"]),
        passphrase=Nobody(),
    )
    install_issuer("home", host, signed)
    node = RunningNode(host)
    node.call(None, "home", "cert grant", member="gate", groups=["staff"])
    assert node.node.own.certificate.groups == ("staff",)
    monkeypatch.setattr(authority, "call", node.call)
    remove_authority("home", host, old, despite=False, **PLAIN)
    assert keys_of(host) == [added["key"]]
    assert node.node.membership.by_key(node.node.key) is not None
    node.close()


def test_the_last_authority_stays(host: Directories) -> None:
    """A network without one is dead."""
    with pytest.raises(ConfigError, match="only authority"):
        remove_authority("home", host, keys_of(host)[0], despite=True, **PLAIN)
    with pytest.raises(ConfigError, match="no authority's key begins"):
        remove_authority("home", host, "zzzz", despite=True, **PLAIN)


def test_force_removes_it_nevertheless(host: Directories) -> None:
    """It is signed by one that stays."""
    (old,) = keys_of(host)
    added = add_authority("home", host, **PLAIN)
    remove_authority("home", host, old, despite=True, **PLAIN)
    assert keys_of(host) == [added["key"]]
    # The old key is no authority's any more.
    with pytest.raises(NotMemberError, match="is no authority's key any more"):
        add_authority(
            "home",
            host,
            key_file=host.state_dir("home") / "authority.key",
            passphrase=Nobody(),
        )


def test_without_a_key_the_way_to_one_is_told(
    host: Directories, tmp_path: Path
) -> None:
    """The founder was told to move it away."""
    safe = tmp_path / "safe"
    safe.mkdir(mode=0o700)
    kept = host.state_dir("home") / "authority.key"
    moved = kept.rename(safe / "authority.key")
    with pytest.raises(NotMemberError, match="--authority-key") as no:
        add_authority("home", host, **PLAIN)
    assert no.value.exit_code == 3
    add_authority("home", host, key_file=moved, passphrase=Nobody())
    assert len(keys_of(host)) == 2


def test_an_issuer_is_made_signed_and_installed(host: Directories) -> None:
    """The whole way, between files."""
    text = request_issuer("home", host)
    signed, facts = sign_issuer("home", host, text, SOME, **PLAIN)
    assert facts["pools"] == ["10.77.8.0/24"]
    assert facts["maxLifetime"] == 30 * DAY
    assert facts["notAfter"] - facts["notBefore"] == 365 * DAY
    assert describe_text(signed)["issuingKey"] == describe_text(text)["issuingKey"]
    assert install_issuer("home", host, signed) == facts
    issuing = load_identity(host.state_dir("home")).issuing
    assert issuing is not None
    assert str(PublicKey(issuing.key.public)) == facts["issuingKey"]


def test_a_member_that_is_no_issuer_makes_a_key(host: Directories) -> None:
    """Asking again asks with the same; it is none before it is permitted."""
    state_dir = host.state_dir("home")
    for name in ("issuer", "issuing.key"):
        (state_dir / name).unlink()
    first = request_issuer("home", host)
    assert request_issuer("home", host) == first
    assert load_identity(state_dir).issuing is None
    assert (state_dir / "issuing.key").stat().st_mode & 0o777 == 0o600
    signed, _ = sign_issuer("home", host, first, SOME, **PLAIN)
    install_issuer("home", host, signed)
    assert load_identity(state_dir).issuing is not None


def test_what_is_not_for_this_node_is_not_installed(host: Directories) -> None:
    """Another's issuing key, or another's network."""
    other = SigningKey(bytes(32))
    network_id = load_identity(host.state_dir("home")).network_id
    request = IssuerRequest(network_id, "paris", other.public)
    signed, _ = sign_issuer(
        "home", host, serialise_issuer_request(request, other), SOME, **PLAIN
    )
    before = load_identity(host.state_dir("home")).issuing
    with pytest.raises(ConfigError, match="another node's issuing key"):
        install_issuer("home", host, signed)
    (host.state_dir("home") / "issuer").unlink()
    (host.state_dir("home") / "issuing.key").unlink()
    with pytest.raises(ConfigError, match="issuer request, first"):
        install_issuer("home", host, signed)
    assert before is not None
    foreign = IssuerRequest(bytes(16), "paris", other.public)
    with pytest.raises(ConfigError, match="of another network"):
        sign_issuer(
            "home", host, serialise_issuer_request(foreign, other), SOME, **PLAIN
        )


def test_a_permission_of_no_authority_is_not_installed(
    host: Directories, tmp_path: Path
) -> None:
    """Somebody else's network permits nothing here."""
    there = directories_in(tmp_path / "there")
    found_home(there)
    signed, _ = sign_issuer("home", there, request_issuer("home", there), SOME, **PLAIN)
    with pytest.raises(ConfigError, match="refused: the signer is no authority"):
        install_issuer("home", host, signed)


def test_an_authority_revokes_a_member_or_a_key(
    host: Directories, running: RunningNode
) -> None:
    """By name, or by a key that nobody here knows."""
    by_name = revoke("home", host, "gate", "stolen", **PLAIN)
    assert by_name["key"] == str(PublicKey(running.node.key))
    assert running.node.membership.by_key(running.node.key) is None
    key = base64.b64encode(bytes(range(32))).decode()
    assert revoke("home", host, key, "lost", **PLAIN) == {"key": key}
    assert running.node.directory.is_revoked(bytes(range(32)))


def test_revoking_needs_the_node(host: Directories) -> None:
    """It tells the others."""
    with pytest.raises(Exception, match="not up"):
        revoke("home", host, "gate", "stolen", **PLAIN)
