"""The files of an identity in an open state directory; errors name the file."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from meshnode.crypto.keys import PrivateKey
from meshnode.crypto.signing import SigningKey
from meshnode.errors import ConfigError, MeshnodeError
from meshnode.manage.identity_check import (
    CERTIFICATE_FILE,
    ISSUER_FILE,
    ISSUING_FILE,
    NETWORK_FILE,
    SIGNING_FILE,
    WIREGUARD_FILE,
    Papers,
    check_issuing,
    check_papers,
)
from meshnode.manage.identity_files import (
    MAX_PAPER_BYTES,
    SealedSigningKey,
    parse_papers,
    parse_signing_key,
    serialise_papers,
)
from meshnode.manage.keyfile import SealedKey, parse_key
from meshnode.manage.secret_dir import (
    SecretDirectory,
    create_secret_dir,
    open_secret_dir,
)
from meshnode.mesh.settings import IssuerIdentity, NodeIdentity

Value = TypeVar("Value")


class NotMemberError(MeshnodeError):
    """There is no identity: this host is no member of the network."""

    exit_code = 3


class IdentityDirectory:
    """The files of one open state directory; errors name the file."""

    def __init__(self, path: Path, directory: SecretDirectory) -> None:
        self._path = path
        self._directory = directory

    def has(self, name: str) -> bool:
        """Whether the file is there."""
        return self._directory.has(name)

    def read(self, name: str, parse: Callable[[bytes], Value]) -> Value:
        """Return what the file holds; raises `FileNotFoundError`, `ConfigError`."""
        data = self._directory.read(name, limit=MAX_PAPER_BYTES)
        try:
            return parse(data)
        except ConfigError as error:
            raise ConfigError(f"{self._path / name}: {error}") from None

    def write(self, name: str, data: bytes) -> None:
        """Write the file in the place of any of that name."""
        self._directory.replace(name, data)

    def remove(self, name: str) -> bool:
        """Remove the file; returns whether it was there."""
        return self._directory.remove(name)

    def write_charters(self, charters: tuple[bytes, ...]) -> None:
        """Write the chain of charters."""
        self.write(NETWORK_FILE, serialise_papers(NETWORK_FILE, charters))

    def write_certificate(self, papers: Papers) -> None:
        """Write the certificate and its issuer's envelope."""
        both = (papers.certificate, papers.issuer)
        self.write(CERTIFICATE_FILE, serialise_papers(CERTIFICATE_FILE, both))

    def check(
        self, papers: Papers, private_key: PrivateKey, signing_key: SigningKey
    ) -> bytes:
        """Return the network id; raises `ConfigError` for what is at odds."""
        try:
            return check_papers(papers, private_key, signing_key)
        except ConfigError as error:
            raise ConfigError(f"{self._path}/{error}") from None

    def load(self) -> NodeIdentity:
        """Return the identity; raises `FileNotFoundError` if there is none."""
        certificate, issuer = self.read(CERTIFICATE_FILE, _parse_certificate)
        papers = Papers(
            certificate, issuer, self._require(NETWORK_FILE, _parse_charters)
        )
        private_key = self._require(WIREGUARD_FILE, _parse_private_key)
        signing_key = self._require(SIGNING_FILE, _parse_open_key)
        network_id = self.check(papers, private_key, signing_key)
        return NodeIdentity(
            network_id=network_id,
            private_key=private_key,
            signing_key=signing_key,
            certificate=certificate,
            issuer=issuer,
            charters=papers.charters,
            issuing=self._load_issuing(network_id),
        )

    def refuse_other(self, private_key: PrivateKey, signing_key: SigningKey) -> None:
        """Raise `ConfigError` if the identity that is there has other keys."""
        is_same = self._require(WIREGUARD_FILE, _parse_private_key) == private_key
        known = self._require(SIGNING_FILE, _parse_open_key)
        if not is_same or known.public != signing_key.public:
            raise ConfigError(
                f"{self._path} has another identity already; leave that network first"
            )

    def check_issuing(
        self, network_id: bytes, key: SigningKey, envelope: bytes
    ) -> None:
        """Raise `ConfigError` if *envelope* is not that of the issuing key."""
        try:
            check_issuing(network_id, key, envelope)
        except ConfigError as error:
            raise ConfigError(f"{self._path}/{error}") from None

    def _load_issuing(self, network_id: bytes) -> IssuerIdentity | None:
        if not self.has(ISSUER_FILE):
            return None
        (envelope,) = self.read(ISSUER_FILE, _parse_issuer)
        key = self._require(ISSUING_FILE, _parse_open_key)
        self.check_issuing(network_id, key, envelope)
        return IssuerIdentity(key, envelope)

    def _require(self, name: str, parse: Callable[[bytes], Value]) -> Value:
        try:
            return self.read(name, parse)
        except FileNotFoundError:
            raise ConfigError(
                f"{self._path / name} is missing; restore it from a copy, or join again"
            ) from None


@contextmanager
def read_identity(state_dir: Path) -> Iterator[IdentityDirectory]:
    """Open *state_dir*; raises `FileNotFoundError`, also of what happens inside."""
    with open_secret_dir(state_dir, for_change=False) as directory:
        yield IdentityDirectory(state_dir, directory)


@contextmanager
def change_identity(state_dir: Path) -> Iterator[IdentityDirectory]:
    """Open *state_dir* for change; it is made. Raises `NotMemberError`, as inside."""
    create_secret_dir(state_dir)
    try:
        with open_secret_dir(state_dir, for_change=True) as directory:
            yield IdentityDirectory(state_dir, directory)
    except FileNotFoundError:
        raise not_member(state_dir) from None


def not_member(state_dir: Path) -> NotMemberError:
    """Return the error that there is no identity in *state_dir*."""
    return NotMemberError(
        f"no identity in {state_dir}: meshnode network create, or meshnode join"
    )


def _parse_certificate(data: bytes) -> tuple[bytes, bytes]:
    papers = parse_papers(CERTIFICATE_FILE, data)
    if len(papers) != 2:
        raise ConfigError("is no certificate; restore it from a copy")
    return papers[0], papers[1]


def _parse_charters(data: bytes) -> tuple[bytes, ...]:
    return parse_papers(NETWORK_FILE, data)


def _parse_issuer(data: bytes) -> tuple[bytes, ...]:
    papers = parse_papers(ISSUER_FILE, data)
    if len(papers) != 1:
        raise ConfigError("is no issuer; restore it from a copy")
    return papers


def _parse_private_key(data: bytes) -> PrivateKey:
    key = parse_key(data)
    if isinstance(key, SealedKey):
        raise ConfigError("is sealed; a node starts without anybody to ask")
    return key


def _parse_open_key(data: bytes) -> SigningKey:
    key = parse_signing_key(data)
    if isinstance(key, SealedSigningKey):
        raise ConfigError("is sealed; a node starts without anybody to ask")
    return key
