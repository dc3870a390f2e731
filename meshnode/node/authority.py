"""What needs an authority's key: permitting issuers, other authorities, revoking.

The key is a file, `authority.key`, or `authority-2.key` and so on for later ones; it
may lie anywhere. It is opened here, in the command's process, and never given to the
node: the node gets what was signed, or finds it in its state when it starts.
"""

import base64
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol

from meshnode.codec.record_bytes import decode_certificate, parse_envelope
from meshnode.codec.records import MAX_AUTHORITIES, Issuer, Kind
from meshnode.crypto.keys import PublicKey
from meshnode.crypto.signing import SEED_SIZE, SigningKey
from meshnode.errors import CodecError, ConfigError
from meshnode.manage.api_client import NotRunningError, call
from meshnode.manage.delegated import add_delegated
from meshnode.manage.identity import (
    NotMemberError,
    SealedSigningKey,
    load_identity,
)
from meshnode.manage.identity_check import ISSUER_FILE, ISSUING_FILE
from meshnode.manage.identity_dir import change_identity, read_identity
from meshnode.manage.identity_files import (
    MAX_PAPER_BYTES,
    parse_signing_key,
    serialise_papers,
    serialise_sealed,
    serialise_seed,
)
from meshnode.manage.papers import describe_issuer, parse_roles
from meshnode.manage.paths import Directories
from meshnode.manage.secret_dir import open_own_dir
from meshnode.manage.state import FILE_NAME, StateStore
from meshnode.mesh.delegation import (
    IssuerRequest,
    parse_issuer_request,
    parse_permission,
    permit_issuer,
    revoke_by_authority,
    serialise_issuer_request,
    serialise_permission,
    succeed_charter,
)
from meshnode.mesh.founding import ISSUER_LIFETIME
from meshnode.mesh.ports import KeepCharter
from meshnode.mesh.refusal import RecordRefused
from meshnode.mesh.trust import Trust
from meshnode.node.mesh_papers import describe_charter
from meshnode.types import Prefix
from meshnode.values import frozen

_FIRST: Final = "authority.key"


class Passphrase(Protocol):
    """Where a passphrase comes from; asked only if there is something sealed."""

    def ask(self, *, is_new: bool) -> bytes:
        """Return it."""


@frozen
class OpenAuthority:
    """A key of an authority that is in force, and the passphrase that opened it."""

    key: SigningKey
    passphrase: bytes | None


@frozen
class Permission:
    """What the command line lets an issuer grant; times in seconds."""

    pools: tuple[Prefix, ...]
    groups: tuple[str, ...]
    subnets: tuple[Prefix, ...]
    roles: tuple[str, ...]
    max_lifetime: int
    lifetime: int


# --- the charter ---


def show_charter(network: str, directories: Directories) -> dict[str, Any]:
    """Return the charter in force and what stands on each authority.

    The node of *network* is asked; if it is down, its state is read.

    Raises:
        NotMemberError: if this host is no member.
        ConfigError, HostError: if what is kept cannot be used.
    """
    try:
        return call(directories, network, "charter show")
    except NotRunningError:
        pass
    state_dir = directories.state_dir(network)
    identity = load_identity(state_dir)
    store = StateStore.open(state_dir / FILE_NAME)
    try:
        stored = store.load()
    finally:
        store.close()
    trust = Trust(identity.network_id)
    _add_charters(trust, (*identity.charters, *stored.charters))
    own = [(int(Kind.MEMBER), stored.own)] if stored.own else []
    try:
        return describe_charter(trust.chain(), [*own, *stored.records])
    except CodecError as error:
        raise ConfigError(f"{state_dir}: a record is damaged: {error}") from None


def list_authorities(network: str, directories: Directories) -> dict[str, Any]:
    """Return `show_charter` with, of each authority, its file on this host."""
    shown = show_charter(network, directories)
    state_dir = directories.state_dir(network)
    here = {
        str(PublicKey(_load(state_dir / name).public)): name
        for name in _key_files(state_dir)
    }
    for authority in shown["authorities"]:
        name = here.get(authority["key"])
        authority["file"] = None if name is None else str(state_dir / name)
    return shown


def add_authority(
    network: str,
    directories: Directories,
    *,
    key_file: Path | None,
    passphrase: Passphrase,
) -> dict[str, Any]:
    """Make another authority's key and publish the charter that has both.

    The new key is sealed by the passphrase of the old one, or as clear as that.

    Raises:
        ConfigError: if there are too many, or no key of an authority is at hand.
    """
    state_dir = directories.state_dir(network)
    trust = _trust(network, directories)
    known = trust.charter.authorities
    if len(known) >= MAX_AUTHORITIES:
        raise ConfigError(f"a network has at most {MAX_AUTHORITIES} authorities")
    authority = _open(trust, state_dir, key_file, passphrase)
    seed = os.urandom(SEED_SIZE)
    public = SigningKey(seed).public
    envelope = succeed_charter(
        trust, authority.key, authorities=(*known, public), wall=int(time.time())
    )
    file = _keep_key(state_dir, seed, authority.passphrase)
    _publish(network, directories, trust, envelope)
    return {
        "key": str(PublicKey(public)),
        "file": str(file),
        "version": trust.charter.version,
    }


def remove_authority(
    network: str,
    directories: Directories,
    key: str,
    *,
    key_file: Path | None,
    passphrase: Passphrase,
    despite: bool,
) -> dict[str, Any]:
    """Publish a charter without the authority whose key begins with *key*.

    *despite* removes it though members stand on it.

    Raises:
        ConfigError: if there is no such authority, it is the last, or something
            stands on it.
    """
    shown = show_charter(network, directories)
    found = [one for one in shown["authorities"] if one["key"].startswith(key)]
    if len(found) != 1:
        what = "no authority's key begins" if not found else "several keys begin"
        raise ConfigError(f"{what} with {key!r}; see: meshnode network authority list")
    if len(shown["authorities"]) == 1:
        raise ConfigError(
            "it is the only authority: meshnode network authority add, first"
        )
    issuers = ", ".join(found[0]["issuers"])
    if issuers and not despite:
        raise ConfigError(
            f"members stand on it through {issuers}: sign these issuers by another "
            "authority first (meshnode issuer sign), let their members renew, or "
            "give --force"
        )
    gone = PublicKey.from_base64(found[0]["key"]).raw
    trust = _trust(network, directories)
    authority = _open(
        trust, directories.state_dir(network), key_file, passphrase, avoid=gone
    )
    rest = tuple(one for one in trust.charter.authorities if one != gone)
    envelope = succeed_charter(
        trust, authority.key, authorities=rest, wall=int(time.time())
    )
    _publish(network, directories, trust, envelope)
    return {"key": found[0]["key"], "version": trust.charter.version}


# --- issuers ---


def request_issuer(network: str, directories: Directories) -> str:
    """Make an issuing key of this node, or take the one there is; return a request.

    Raises:
        NotMemberError: if this host is no member.
        ConfigError, HostError: if the keys cannot be used or kept.
    """
    state_dir = directories.state_dir(network)
    with change_identity(state_dir) as files:
        identity = files.load()
        if files.has(ISSUING_FILE):
            key = files.read(ISSUING_FILE, _parse_clear)
        else:
            seed = os.urandom(SEED_SIZE)
            files.write(ISSUING_FILE, serialise_seed(seed))
            key = SigningKey(seed)
    certificate = decode_certificate(parse_envelope(identity.certificate).body)
    request = IssuerRequest(identity.network_id, certificate.name, key.public)
    return serialise_issuer_request(request, key)


def sign_issuer(
    network: str,
    directories: Directories,
    request_text: str,
    permission: Permission,
    *,
    key_file: Path | None,
    passphrase: Passphrase,
) -> tuple[str, dict[str, Any]]:
    """Return the permission for who made the request, as text, and what it says.

    Raises:
        ConfigError: if the request is of another network, or asks in vain.
    """
    request = parse_issuer_request(request_text)
    trust = _trust(network, directories)
    if request.network_id != trust.network_id:
        raise ConfigError("the request is of another network")
    authority = _open(trust, directories.state_dir(network), key_file, passphrase)
    wall = int(time.time())
    issuer = Issuer(
        issuing_key=request.issuing_key,
        name=request.name,
        pools=permission.pools,
        groups=permission.groups,
        subnets=permission.subnets,
        roles=parse_roles(permission.roles),
        max_lifetime=permission.max_lifetime,
        not_before=wall,
        not_after=wall + permission.lifetime,
    )
    envelope = permit_issuer(trust, authority.key, issuer)
    # Before anybody has it: our own node gives none of its addresses away.
    add_delegated(directories.state_dir(network), envelope)
    with suppress(NotRunningError):
        call(directories, network, "reload")
    return serialise_permission(envelope), describe_issuer(issuer)


def install_issuer(network: str, directories: Directories, text: str) -> dict[str, Any]:
    """Let this node issue as the permission in *text* says, from its next start.

    Raises:
        ConfigError: if it is not for this node's issuing key, or no authority's.
    """
    envelope = parse_permission(text)
    trust = _trust(network, directories)
    try:
        issuer = trust.verify_issuer(parse_envelope(envelope), wall=int(time.time()))
    except RecordRefused as refusal:
        raise ConfigError(f"the permission is refused: {refusal}") from None
    with change_identity(directories.state_dir(network)) as files:
        identity = files.load()
        if not files.has(ISSUING_FILE):
            raise ConfigError(
                "this node has no issuing key: meshnode issuer request, first"
            )
        key = files.read(ISSUING_FILE, _parse_clear)
        if key.public != issuer.issuing_key:
            raise ConfigError("the permission is for another node's issuing key")
        files.check_issuing(identity.network_id, key, envelope)
        files.write(ISSUER_FILE, serialise_papers(ISSUER_FILE, (envelope,)))
    return describe_issuer(issuer)


# --- revocation ---


def revoke(
    network: str,
    directories: Directories,
    what: str,
    reason: str,
    *,
    key_file: Path | None,
    passphrase: Passphrase,
) -> dict[str, Any]:
    """Revoke a member, or any key of the network, by an authority.

    *what* is a member's name or address, or a key: a WireGuard, signing or issuing
    key in base64. The node must be up, for it tells the others.

    Raises:
        NotRunningError: if it is down.
        ConfigError: if no authority's key is at hand, or the reason is too long.
    """
    wall = int(time.time())
    try:
        subject = PublicKey.from_base64(what).raw
        # Nobody may know the end of what it is used for, but an issuer's comes last.
        until = wall + ISSUER_LIFETIME
    except ConfigError:
        member = call(directories, network, "cert show", member=what)
        subject = PublicKey.from_base64(member["key"]).raw
        until = int(member["notAfter"])
    trust = _trust(network, directories)
    authority = _open(trust, directories.state_dir(network), key_file, passphrase)
    envelope = revoke_by_authority(
        trust, authority.key, subject, reason=reason, until=until, wall=wall
    )
    call(
        directories,
        network,
        "revocation publish",
        revocation=base64.b64encode(envelope).decode(),
    )
    return {"key": str(PublicKey(subject))}


# --- the steps ---


def _trust(network: str, directories: Directories) -> Trust:
    """Return the trust of *network*, with the charter in force."""
    shown = show_charter(network, directories)
    trust = Trust(bytes.fromhex(shown["networkId"]))
    _add_charters(trust, tuple(map(base64.b64decode, shown["chain"])))
    return trust


def _add_charters(trust: Trust, charters: tuple[bytes, ...]) -> None:
    try:
        for envelope in charters:
            trust.add_charter(envelope)
    except RecordRefused as refusal:
        raise ConfigError(f"the network's charter is no good: {refusal}") from None


def _publish(
    network: str, directories: Directories, trust: Trust, envelope: bytes
) -> None:
    """Put the last charter of *trust* in force, by the node or in its state."""
    try:
        call(
            directories,
            network,
            "charter publish",
            charter=base64.b64encode(envelope).decode(),
        )
    except NotRunningError:
        store = StateStore.open(directories.state_dir(network) / FILE_NAME)
        try:
            store.apply([KeepCharter(trust.charter.version, envelope)])
        finally:
            store.close()


def _open(
    trust: Trust,
    state_dir: Path,
    key_file: Path | None,
    passphrase: Passphrase,
    *,
    avoid: bytes = b"",
) -> OpenAuthority:
    """Return a key that is an authority's now; one that is not *avoid* if there is."""
    files = (
        [key_file.absolute()]
        if key_file is not None
        else [state_dir / name for name in _key_files(state_dir)]
    )
    found = [_load(file) for file in files]
    usable = [key for key in found if key.public in trust.charter.authorities]
    if not usable:
        where = key_file or state_dir
        why = "is no authority's key any more" if found else "has no authority's key"
        raise NotMemberError(
            f"{where} {why}: run this where the network was founded, or name the "
            "key's file with --authority-key"
        )
    key = min(usable, key=lambda one: one.public == avoid)
    if isinstance(key, SigningKey):
        return OpenAuthority(key, None)
    secret = passphrase.ask(is_new=False)
    return OpenAuthority(key.open(secret), secret)


def _load(file: Path) -> SigningKey | SealedSigningKey:
    """Return the key in *file*, which must be private to us."""
    try:
        with open_own_dir(file.parent, for_change=False) as directory:
            data = directory.read(file.name, limit=MAX_PAPER_BYTES)
    except FileNotFoundError:
        raise NotMemberError(f"{file} is not there") from None
    try:
        return parse_signing_key(data)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None


def _key_files(state_dir: Path) -> list[str]:
    try:
        with read_identity(state_dir) as files:
            return [name for name in _names() if files.has(name)]
    except FileNotFoundError:
        return []


def _keep_key(state_dir: Path, seed: bytes, passphrase: bytes | None) -> Path:
    """Write the key into a file of its own; return its path."""
    text = (
        serialise_seed(seed)
        if passphrase is None
        else serialise_sealed(
            SealedSigningKey.seal(seed, passphrase, entropy=os.urandom)
        )
    )
    with change_identity(state_dir) as files:
        name = next((name for name in _names() if not files.has(name)), None)
        if name is None:
            raise ConfigError(
                f"{state_dir} has {len(_names())} authorities' keys: move one away"
            )
        files.write(name, text)
    return state_dir / name


def _names() -> list[str]:
    # Twice as many as there can be at a time: old ones stay until they are moved.
    return [_FIRST, *(f"authority-{n}.key" for n in range(2, 2 * MAX_AUTHORITIES + 1))]


def _parse_clear(data: bytes) -> SigningKey:
    key = parse_signing_key(data)
    if isinstance(key, SealedSigningKey):
        raise ConfigError("is sealed; a node starts without anybody to ask")
    return key
