"""The identity of a node: never a wrong one, and never half of one."""

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from meshnode.codec.record_bytes import (
    encode_certificate,
    encode_charter,
    encode_issuer,
    serialise_envelope,
    signed_bytes,
)
from meshnode.codec.records import Certificate, Charter, Envelope, Issuer, Kind, Role
from meshnode.crypto.keys import PrivateKey
from meshnode.crypto.primitives import blake2s
from meshnode.crypto.signing import SigningKey
from meshnode.errors import ConfigError, HostError
from meshnode.manage.identity import (
    NodeKeys,
    NotMemberError,
    Papers,
    PendingJoin,
    SealedSigningKey,
    load_authority,
    load_identity,
    load_joining,
    remove_joining,
    save_authority,
    save_certificate,
    save_charters,
    save_identity,
    save_issuing,
    save_joining,
)
from meshnode.types import Prefix

KEYS = NodeKeys(PrivateKey(b"\x01" * 32), b"\x02" * 32)
OTHER_KEYS = NodeKeys(PrivateKey(b"\x03" * 32), b"\x04" * 32)
ISSUING = b"\x06" * 32


class Network:
    """An authority, and what it signs."""

    def __init__(self, number: int) -> None:
        self.authority = SigningKey(bytes([number]) * 32)
        self.issuer_key = SigningKey(bytes([number + 1]) * 32)
        self.id = blake2s(self.authority.public)[:16]
        self.charter = self.charter_of(1)
        self.issuer = self.issuer_of(self.issuer_key)

    def sign(self, key: SigningKey, kind: Kind, body: bytes) -> bytes:
        """The envelope of *body*."""
        signature = key.sign(signed_bytes(self.id, kind, body))
        return serialise_envelope(Envelope(kind, key.public, signature, body))

    def charter_of(self, version: int) -> bytes:
        """The charter of that version."""
        cidr = Prefix.parse("10.77.0.0/16")
        keys = (self.authority.public,)
        body = encode_charter(Charter(self.id, version, "home", cidr, keys, 1))
        return self.sign(self.authority, Kind.CHARTER, body)

    def issuer_of(self, key: SigningKey) -> bytes:
        """The envelope that lets *key* certify."""
        issuer = Issuer(key.public, "i", (), (), (), Role.NONE, 86400, 1, 2**31)
        return self.sign(self.authority, Kind.ISSUER, encode_issuer(issuer))

    def certify(self, keys: NodeKeys, signer: SigningKey, **changes: Any) -> bytes:
        """A certificate for *keys*."""
        values: dict[str, Any] = {
            "serial": bytes(16),
            "name": "node",
            "wireguard_key": keys.private_key.public_key().raw,
            "signing_key": SigningKey(keys.signing_seed).public,
            "ipv4": b"\x0a\x4d\x00\x01",
            "subnets": (),
            "groups": (),
            "roles": Role.NONE,
            "gateways": (),
            "not_before": 1,
            "not_after": 2**31,
            "member_since": 1,
            **changes,
        }
        body = encode_certificate(Certificate(**values))
        return self.sign(signer, Kind.CERTIFICATE, body)

    def papers(self, keys: NodeKeys) -> Papers:
        """What a member of this network has."""
        certificate = self.certify(keys, self.issuer_key)
        return Papers(certificate, self.issuer, (self.charter,))


HOME, ELSEWHERE = Network(10), Network(20)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A state directory that is not there yet."""
    return tmp_path / "lib" / "home"


@pytest.fixture
def member(path: Path) -> Path:
    """The state directory of a member."""
    save_identity(path, KEYS, HOME.papers(KEYS))
    return path


def test_a_member_is_what_was_saved(path: Path) -> None:
    """Keys and papers, and private files whatever the umask."""
    before = os.umask(0)
    try:
        saved = save_identity(path, KEYS, HOME.papers(KEYS))
    finally:
        os.umask(before)
    found = load_identity(path)
    for identity in (saved, found):
        assert identity.network_id == HOME.id
        assert identity.private_key == KEYS.private_key
        assert identity.signing_key.public == SigningKey(KEYS.signing_seed).public
        assert identity.charters == (HOME.charter,)
        assert identity.issuer == HOME.issuer
        assert identity.issuing is None
    names = {"wireguard.key", "signing.key", "certificate", "network"}
    assert set(os.listdir(path)) == names
    assert path.stat().st_mode & 0o7777 == 0o700
    for file in path.iterdir():
        assert file.stat().st_mode & 0o7777 == 0o600


def test_the_key_is_one_that_wg_reads(member: Path) -> None:
    """So that a person can use it elsewhere."""
    text = (member / "wireguard.key").read_text()
    assert PrivateKey.from_base64(text) == KEYS.private_key
    assert len(text) == 45


def test_no_secret_is_shown(member: Path) -> None:
    """In no representation of what holds one."""
    identity = load_identity(member)
    pending = PendingJoin(KEYS, "node", "mn1secret")
    shown = repr(identity) + repr(KEYS) + repr(pending)
    for secret in (KEYS.private_key.reveal(), KEYS.signing_seed):
        assert repr(secret)[2:-1] not in shown
    assert KEYS.private_key.to_base64() not in shown
    assert "mn1secret" not in shown


def test_an_authority_may_certify_by_itself(path: Path) -> None:
    """Then there is no issuer."""
    certificate = HOME.certify(KEYS, HOME.authority)
    save_identity(path, KEYS, Papers(certificate, b"", (HOME.charter,)))
    assert load_identity(path).issuer == b""


def test_without_an_identity_it_is_told_how_to_get_one(path: Path) -> None:
    """Without the directory, and without the certificate in it."""
    for _ in range(2):
        with pytest.raises(NotMemberError, match="meshnode join") as caught:
            load_identity(path)
        assert caught.value.exit_code == 3
        with pytest.raises(NotMemberError):
            save_certificate(path, b"", b"")
    save_joining(path, PendingJoin(KEYS, "node", ""))
    with pytest.raises(NotMemberError):
        load_identity(path)


@pytest.mark.parametrize("name", ["wireguard.key", "signing.key", "network"])
def test_a_missing_file_is_named(member: Path, name: str) -> None:
    """With what to do."""
    (member / name).unlink()
    with pytest.raises(ConfigError, match=f"{member / name} is missing; restore"):
        load_identity(member)


@pytest.mark.parametrize(
    "name", ["wireguard.key", "signing.key", "network", "certificate"]
)
def test_a_file_cut_short_or_changed_is_never_used(member: Path, name: str) -> None:
    """At every length and with every bit flipped: an error, with the file's name."""
    whole = load_identity(member)
    file = member / name
    original = file.read_bytes()
    step = max(1, len(original) // 40)
    damages = [original[:length] for length in range(0, len(original), step)]
    for bit in range(0, 8 * len(original), step):
        damaged = bytearray(original)
        damaged[bit // 8] ^= 1 << bit % 8
        damages.append(bytes(damaged))
    for damaged in damages:
        file.write_bytes(damaged)
        found = None
        with suppress(ConfigError):
            found = load_identity(member)
        # Some bits of a WireGuard key mean nothing, as does the line feed after it.
        is_same = found is not None and found.private_key == whole.private_key
        assert found is None or (name == "wireguard.key" and is_same)
    file.write_bytes(original[: len(original) // 2])
    with pytest.raises(ConfigError, match=f"^{file}: ") as caught:
        load_identity(member)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wireguard.key", "certificate: is not that of wireguard.key; restore both"),
        ("signing.key", "certificate: is not that of signing.key; restore both"),
        ("certificate", "certificate: is not that of wireguard.key; restore both"),
        ("network", "certificate: is not signed for the network in network"),
    ],
)
def test_a_file_of_another_member_is_refused(
    member: Path, tmp_path: Path, name: str, message: str
) -> None:
    """Whole as it is, it does not belong to the others."""
    other = tmp_path / "other"
    save_identity(other, OTHER_KEYS, ELSEWHERE.papers(OTHER_KEYS))
    (member / name).write_bytes((other / name).read_bytes())
    with pytest.raises(ConfigError) as caught:
        load_identity(member)
    assert str(caught.value).startswith(f"{member}/{message}")


def bad_papers() -> dict[str, Papers]:
    """Papers that do not belong together, by what is wrong."""
    good = HOME.papers(KEYS)
    by_authority = HOME.certify(KEYS, HOME.authority)
    stranger = SigningKey(b"\x63" * 32)
    forged = HOME.sign(stranger, Kind.ISSUER, b"\xc0")
    skipped = HOME.charter_of(3)
    return {
        "of another network": ELSEWHERE.papers(KEYS),
        "of other keys": HOME.papers(OTHER_KEYS),
        "no certificate": Papers(b"", good.issuer, good.charters),
        "an issuer in its place": Papers(HOME.issuer, good.issuer, good.charters),
        "no issuer's envelope": Papers(good.certificate, forged, good.charters),
        "a charter in its place": Papers(good.certificate, HOME.charter, good.charters),
        "not its issuer": Papers(by_authority, good.issuer, good.charters),
        "no charter": Papers(good.certificate, good.issuer, ()),
        "a charter is missing": Papers(
            good.certificate, good.issuer, (HOME.charter, skipped)
        ),
        "charters of two networks": Papers(
            good.certificate, good.issuer, (HOME.charter, ELSEWHERE.charter_of(2))
        ),
        "a certificate in the chain": Papers(
            good.certificate, good.issuer, (HOME.charter, good.certificate)
        ),
        "an issuer of another network": Papers(
            HOME.certify(KEYS, HOME.issuer_key),
            ELSEWHERE.issuer_of(HOME.issuer_key),
            good.charters,
        ),
        "its issuer's, for another network": Papers(
            ELSEWHERE.certify(KEYS, HOME.issuer_key), good.issuer, good.charters
        ),
        "another signing key": Papers(
            HOME.certify(KEYS, HOME.issuer_key, signing_key=stranger.public),
            good.issuer,
            good.charters,
        ),
    }


@pytest.mark.parametrize("what", [w for w in bad_papers() if w != "of another network"])
def test_papers_that_do_not_belong_together_are_not_saved(
    path: Path, what: str
) -> None:
    """Nothing is written, and the file at odds is named."""
    with pytest.raises(ConfigError, match=rf"^{path}/(certificate|network): "):
        save_identity(path, KEYS, bad_papers()[what])
    assert os.listdir(path) == []


def test_an_identity_is_not_overwritten_by_another(member: Path) -> None:
    """Neither by another's keys, nor by one key of another's."""
    files = {file: file.read_bytes() for file in member.iterdir()}
    half = NodeKeys(KEYS.private_key, OTHER_KEYS.signing_seed)
    for keys in (OTHER_KEYS, half):
        with pytest.raises(ConfigError, match="another identity already"):
            save_identity(member, keys, HOME.papers(keys))
    assert {file: file.read_bytes() for file in member.iterdir()} == files
    save_identity(member, KEYS, HOME.papers(KEYS))


def test_a_later_certificate_takes_the_place_of_the_old(member: Path) -> None:
    """Of the same keys and network only."""
    later = HOME.certify(KEYS, HOME.issuer_key, not_after=2**32)
    save_certificate(member, later, HOME.issuer)
    assert load_identity(member).certificate == later
    for bad in (
        (ELSEWHERE.papers(KEYS).certificate, ELSEWHERE.issuer),
        (HOME.papers(OTHER_KEYS).certificate, HOME.issuer),
        (later, b""),
    ):
        if bad == (later, b""):
            continue  # an authority may have signed it: for the mesh to judge
        with pytest.raises(ConfigError):
            save_certificate(member, *bad)
    assert load_identity(member).certificate == later


def test_the_chain_of_charters_only_grows(member: Path) -> None:
    """And stays that of the network."""
    second = HOME.charter_of(2)
    save_charters(member, (HOME.charter, second))
    assert load_identity(member).charters == (HOME.charter, second)
    for bad in (
        (HOME.charter,),
        (ELSEWHERE.charter, ELSEWHERE.charter_of(2)),
        (HOME.charter, second, second),
        (HOME.charter, second, ELSEWHERE.charter_of(3)),
    ):
        with pytest.raises(ConfigError):
            save_charters(member, bad)
    assert load_identity(member).charters == (HOME.charter, second)


def test_an_issuer_has_its_key_and_its_permission(member: Path) -> None:
    """Both of the same key, or neither is used."""
    envelope = HOME.issuer_of(SigningKey(ISSUING))
    save_issuing(member, ISSUING, envelope)
    issuing = load_identity(member).issuing
    assert issuing is not None
    assert issuing.key.public == SigningKey(ISSUING).public
    assert issuing.envelope == envelope
    for bad in (
        HOME.issuer,
        ELSEWHERE.issuer_of(SigningKey(ISSUING)),
        b"",
        envelope[1:],
    ):
        with pytest.raises(ConfigError, match=rf"^{member}/issuer: "):
            save_issuing(member, ISSUING, bad)
    assert load_identity(member).issuing is not None
    (member / "issuing.key").unlink()
    with pytest.raises(ConfigError, match=r"issuing\.key is missing"):
        load_identity(member)


def test_an_issuing_key_of_another_is_refused(member: Path) -> None:
    """The envelope names whose it is."""
    save_issuing(member, ISSUING, HOME.issuer_of(SigningKey(ISSUING)))
    signing = (member / "signing.key").read_bytes()
    (member / "issuing.key").write_bytes(signing)
    with pytest.raises(ConfigError, match=r"issuer: is not that of issuing\.key"):
        load_identity(member)


def test_an_authority_keeps_its_key(path: Path) -> None:
    """In clear or sealed; it is never overwritten by another."""
    with pytest.raises(NotMemberError, match="where the network was founded"):
        load_authority(path)
    seed = b"\x0a" * 32
    save_authority(path, seed)
    found = load_authority(path)
    assert isinstance(found, SigningKey)
    assert found.public == HOME.authority.public
    sealed = SealedSigningKey(HOME.authority.public, b"sealed")
    save_authority(path, sealed)
    assert load_authority(path) == sealed
    for other in (b"\x0b" * 32, SealedSigningKey(bytes(32), b"x")):
        with pytest.raises(ConfigError, match="is another key"):
            save_authority(path, other)
    assert load_authority(path) == sealed
    with pytest.raises(NotMemberError):
        load_identity(path)


def test_a_sealed_key_cannot_run_a_node(member: Path) -> None:
    """Nobody is there to ask when it starts."""
    save_authority(member, SealedSigningKey(bytes(32), b"sealed"))
    text = (member / "authority.key").read_bytes()
    (member / "signing.key").write_bytes(text)
    with pytest.raises(ConfigError, match=r"signing\.key: is sealed"):
        load_identity(member)


def test_a_join_that_was_interrupted_goes_on(path: Path) -> None:
    """With the same keys, until the host is a member."""
    assert load_joining(path) is None
    pending = PendingJoin(KEYS, "laptop", "mn1token")
    save_joining(path, pending)
    found = load_joining(path)
    assert found == pending
    assert found is not None
    assert found.token == "mn1token"
    save_identity(path, found.keys, HOME.papers(found.keys))
    assert load_joining(path) is None
    save_joining(path, pending)
    assert remove_joining(path)
    assert not remove_joining(path)


def test_a_damaged_pending_join_is_refused(path: Path) -> None:
    """A key that lost a bit would be another host."""
    save_joining(path, PendingJoin(KEYS, "laptop", "mn1token"))
    file = path / "joining"
    original = file.read_bytes()
    for place in range(len(original)):
        damaged = bytearray(original)
        damaged[place] ^= 1 << place % 8
        file.write_bytes(damaged)
        with pytest.raises(ConfigError, match=f"{file}: "):
            load_joining(path)


def test_files_that_others_can_read_are_refused(member: Path) -> None:
    """A key that somebody else may have is no key."""
    for file in list(member.iterdir()):
        file.chmod(0o644)
        with pytest.raises(ConfigError, match=f"chmod 600 {file}"):
            load_identity(member)
        file.chmod(0o600)
    member.chmod(0o755)
    with pytest.raises(ConfigError, match=f"chmod 700 {member}"):
        load_identity(member)


def test_a_full_disk_is_the_hosts_error(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the host is no member then."""

    def refuse(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path.mkdir(mode=0o700, parents=True)
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(HostError) as caught:
        save_identity(path, KEYS, HOME.papers(KEYS))
    monkeypatch.undo()
    assert caught.value.errno == errno.ENOSPC
    with pytest.raises(NotMemberError):
        load_identity(path)


class Killed(BaseException):
    """Stands for kill -9: no system call happens after it."""


def run_until_killed(steps: int, function: Callable[[], object]) -> bool:
    """Call *function* and die after *steps* system calls; say whether we died."""
    left = steps

    def dying(call: Any) -> Any:
        def counted(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            if not left:
                raise Killed
            left -= 1
            return call(*args, **kwargs)

        return counted

    with pytest.MonkeyPatch.context() as patch, suppress(Killed):
        for name in ("open", "fsync", "rename", "unlink"):
            patch.setattr(os, name, dying(getattr(os, name)))
        function()
        return False
    return True


def test_killed_at_any_step_of_joining_it_goes_on(path: Path) -> None:
    """Either the join is still pending with its keys, or the host is a member."""
    pending = PendingJoin(KEYS, "node", "mn1token")
    seen = set()
    for steps in range(200):
        for file in path.glob("*"):
            file.unlink()
        save_joining(path, pending)
        was_killed = run_until_killed(
            steps, lambda: save_identity(path, KEYS, HOME.papers(KEYS))
        )
        try:
            assert load_identity(path).private_key == KEYS.private_key
            seen.add("member")
        except NotMemberError:
            assert load_joining(path) == pending
            seen.add("pending")
        save_identity(path, KEYS, HOME.papers(KEYS))
        assert load_identity(path).charters == (HOME.charter,)
        if not was_killed:
            break
    assert not was_killed
    assert seen == {"member", "pending"}


def test_killed_at_any_step_of_becoming_an_issuer(member: Path) -> None:
    """The identity is good: the issuer it was, none, or the one it is to be."""
    before, after = SigningKey(b"\x07" * 32), SigningKey(ISSUING)
    seen = set()
    for steps in range(200):
        save_issuing(member, b"\x07" * 32, HOME.issuer_of(before))
        was_killed = run_until_killed(
            steps, lambda: save_issuing(member, ISSUING, HOME.issuer_of(after))
        )
        issuing = load_identity(member).issuing
        seen.add(None if issuing is None else issuing.key.public)
        if not was_killed:
            break
    assert seen == {before.public, None, after.public}
