"""Who this node is in one network: its keys and papers, in the state directory.

    wireguard.key   private key, as `wg` writes it
    signing.key     what the node signs its records with
    certificate     the certificate's envelope, and that of the issuer who signed it
    network         the chain of charters
    issuing.key     if it issues certificates: with what,
    issuer          and the envelope in which an authority allows it
    authority.key   if it is an authority: the key, sealed by a passphrase or not
    joining         the keys of a host that has asked to be a member

Nothing is used that does not belong together: a certificate must be of both keys and
signed for this network, or the error names the file and the remedy. Whether an
authority allowed it is for `meshnode.mesh` to judge.

A node is a member once `certificate` is there: it is written last.
"""

import os
from dataclasses import field
from pathlib import Path
from typing import Final

from meshnode.crypto.keys import KEY_BYTES, PrivateKey
from meshnode.crypto.signing import SEED_SIZE, SigningKey
from meshnode.errors import ConfigError
from meshnode.manage.identity_check import (
    CERTIFICATE_FILE,
    ISSUER_FILE,
    ISSUING_FILE,
    SIGNING_FILE,
    WIREGUARD_FILE,
    Papers,
)
from meshnode.manage.identity_dir import (
    NotMemberError,
    change_identity,
    not_member,
    read_identity,
)
from meshnode.manage.identity_files import (
    SealedSigningKey,
    parse_papers,
    parse_signing_key,
    serialise_papers,
    serialise_sealed,
    serialise_seed,
)
from meshnode.manage.keyfile import serialise_key
from meshnode.mesh.settings import NodeIdentity
from meshnode.values import frozen

__all__ = [
    "NodeKeys",
    "NotMemberError",
    "Papers",
    "PendingJoin",
    "SealedSigningKey",
    "load_authority",
    "load_identity",
    "load_joining",
    "remove_joining",
    "save_authority",
    "save_certificate",
    "save_charters",
    "save_identity",
    "save_issuing",
    "save_joining",
]

_AUTHORITY: Final = "authority.key"
_JOINING: Final = "joining"


@frozen
class NodeKeys:
    """The two keys of a host, as they are made: the signing key is its seed."""

    private_key: PrivateKey
    signing_seed: bytes = field(repr=False)

    @classmethod
    def new(cls) -> "NodeKeys":
        """Make keys of the kernel's random numbers."""
        return cls(PrivateKey(os.urandom(KEY_BYTES)), os.urandom(SEED_SIZE))


@frozen
class PendingJoin:
    """A host that has asked to be a member, so that asking again is the same host.

    `token` is the invite's, "" if it was asked for in another way.
    """

    keys: NodeKeys
    name: str
    token: str = field(repr=False)


def load_identity(state_dir: Path) -> NodeIdentity:
    """Return the identity whose files are in *state_dir*.

    Raises:
        NotMemberError: if there is none.
        ConfigError: naming the file that is damaged, not private, or does not belong
            to the others, and what to do.
        HostError: if the operating system refuses.
    """
    try:
        with read_identity(state_dir) as files:
            return files.load()
    except FileNotFoundError:
        raise not_member(state_dir) from None


def save_identity(state_dir: Path, keys: NodeKeys, papers: Papers) -> NodeIdentity:
    """Make this host a member; a pending join is over.

    Returns:
        The identity, as `load_identity` does.

    Raises:
        ConfigError: if the papers are not for these keys, or another identity is
            there already; nothing was changed.
        HostError: if the operating system refuses.
    """
    with change_identity(state_dir) as files:
        signing_key = SigningKey(keys.signing_seed)
        if files.has(CERTIFICATE_FILE):
            files.refuse_other(keys.private_key, signing_key)
        files.check(papers, keys.private_key, signing_key)
        files.write(WIREGUARD_FILE, serialise_key(keys.private_key))
        files.write(SIGNING_FILE, serialise_seed(keys.signing_seed))
        files.write_charters(papers.charters)
        files.write_certificate(papers)
        files.remove(_JOINING)
        return files.load()


def save_certificate(state_dir: Path, certificate: bytes, issuer: bytes) -> None:
    """Replace the certificate by a later one, for the same keys.

    Raises:
        ConfigError: if it is not for these keys and this network, or there is none to
            replace; nothing was changed.
        HostError: if the operating system refuses.
    """
    with change_identity(state_dir) as files:
        old = files.load()
        papers = Papers(certificate, issuer, old.charters)
        files.check(papers, old.private_key, old.signing_key)
        files.write_certificate(papers)


def save_charters(state_dir: Path, charters: tuple[bytes, ...]) -> None:
    """Replace the chain of charters by a longer one; raises as `save_certificate`."""
    with change_identity(state_dir) as files:
        old = files.load()
        if charters[: len(old.charters)] != old.charters:
            raise ConfigError("the chain of charters is not the old one and more")
        papers = Papers(old.certificate, old.issuer, charters)
        files.check(papers, old.private_key, old.signing_key)
        files.write_charters(charters)


def save_issuing(state_dir: Path, seed: bytes, envelope: bytes) -> None:
    """Let this node issue certificates with the key of *seed*, as *envelope* allows.

    Raises:
        ConfigError: if the envelope is not that of the key; nothing was changed.
        HostError: if the operating system refuses.
    """
    with change_identity(state_dir) as files:
        identity = files.load()
        files.check_issuing(identity.network_id, SigningKey(seed), envelope)
        files.remove(ISSUER_FILE)  # a key without it is no issuer yet
        files.write(ISSUING_FILE, serialise_seed(seed))
        files.write(ISSUER_FILE, serialise_papers(ISSUER_FILE, (envelope,)))


def load_authority(state_dir: Path) -> SigningKey | SealedSigningKey:
    """Return the authority's key, perhaps sealed.

    Raises:
        NotMemberError: if this host has none.
        ConfigError, HostError: as `load_identity`.
    """
    try:
        with read_identity(state_dir) as files:
            return files.read(_AUTHORITY, parse_signing_key)
    except FileNotFoundError:
        raise NotMemberError(
            f"{state_dir / _AUTHORITY} is not there: run this where the network was "
            "founded, or restore the key from a copy"
        ) from None


def save_authority(state_dir: Path, key: bytes | SealedSigningKey) -> None:
    """Keep an authority's key: sealed, or its seed in clear.

    Raises:
        ConfigError: if another one is there.
        HostError: if the operating system refuses.
    """
    if isinstance(key, SealedSigningKey):
        text, public = serialise_sealed(key), key.public
    else:
        text, public = serialise_seed(key), SigningKey(key).public
    with change_identity(state_dir) as files:
        if files.has(_AUTHORITY):
            known = files.read(_AUTHORITY, parse_signing_key)
            if known.public != public:
                raise ConfigError(
                    f"{state_dir / _AUTHORITY} is another key; move it away first"
                )
        files.write(_AUTHORITY, text)


def load_joining(state_dir: Path) -> PendingJoin | None:
    """Return the pending join, None if there is none; raises as `load_identity`."""
    try:
        with read_identity(state_dir) as files:
            return files.read(_JOINING, _parse_joining)
    except FileNotFoundError:
        return None


def save_joining(state_dir: Path, join: PendingJoin) -> None:
    """Keep a pending join, in the place of any other; raises `HostError`."""
    papers = (
        join.keys.private_key.reveal(),
        join.keys.signing_seed,
        join.name.encode(),
        join.token.encode(),
    )
    with change_identity(state_dir) as files:
        files.write(_JOINING, serialise_papers(_JOINING, papers))


def remove_joining(state_dir: Path) -> bool:
    """Forget a pending join; returns whether there was one; raises `HostError`."""
    with change_identity(state_dir) as files:
        return files.remove(_JOINING)


def _parse_joining(data: bytes) -> PendingJoin:
    papers = parse_papers(_JOINING, data)
    try:
        private_key, seed, name, token = papers
        if len(private_key) != KEY_BYTES or len(seed) != SEED_SIZE:
            raise ValueError
        keys = NodeKeys(PrivateKey(private_key), seed)
        return PendingJoin(keys, name.decode(), token.decode())
    except ValueError:
        raise ConfigError("is no pending join; remove it, and join again") from None
