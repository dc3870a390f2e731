"""Found a network: keys, papers and configuration of its first node."""

import errno
import ipaddress
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from meshnode.codec.names import check_label
from meshnode.codec.record_bytes import decode_certificate, parse_envelope
from meshnode.crypto.signing import SigningKey
from meshnode.errors import ConfigError, HostError
from meshnode.manage.config_values import HostPort, NetworkConfig
from meshnode.manage.identity import (
    NodeKeys,
    Papers,
    save_authority,
    save_identity,
    save_issuing,
)
from meshnode.manage.identity_files import SealedSigningKey
from meshnode.manage.network_config import load_config, save_config
from meshnode.manage.paths import Directories
from meshnode.mesh.founding import (
    ISSUER_LIFETIME,
    FounderKeys,
    found_network,
    parse_network_cidr,
)
from meshnode.mesh.invites import DEFAULT_LIFETIME
from meshnode.mesh.issuing import SERIAL_BYTES
from meshnode.mesh.trust import overlay_ipv6, ula_prefix
from meshnode.types import Prefix
from meshnode.values import frozen


@frozen
class FoundingRequest:
    """What the command line says of a new network and its first node."""

    network: str
    cidr: str
    node: str
    listen_port: int
    interface: str | None
    advertise: tuple[str, ...]
    accept_routes: bool
    subnets: tuple[str, ...]


def found(
    request: FoundingRequest, directories: Directories, *, passphrase: bytes | None
) -> dict[str, Any]:
    """Found the network and write everything its first node needs; return the facts.

    The authority's key is sealed by *passphrase*, or kept in clear if that is None.

    Raises:
        ConfigError: if something is not as it must be, or the network is configured
            here already; nothing was changed.
        HostError: if a file cannot be written.
    """
    check_label(request.network, "the network's name")
    cidr = parse_network_cidr(request.cidr)
    subnets = tuple(Prefix.parse(subnet) for subnet in request.subnets)
    file = directories.config_file(request.network)
    state_dir = directories.state_dir(request.network)
    config = NetworkConfig(
        interface=request.interface or default_interface(request.network),
        listen_port=request.listen_port,
        advertise=tuple(HostPort.parse(place) for place in request.advertise),
        accept_routes=request.accept_routes,
    )
    _require_new(file, config, state_dir)
    keys = NodeKeys.new()
    authority_seed, issuing_seed = os.urandom(32), os.urandom(32)
    authority = SigningKey(authority_seed)
    founding = found_network(
        request.network,
        cidr,
        request.node,
        FounderKeys(
            wireguard_key=keys.private_key.public_key().raw,
            signing_key=SigningKey(keys.signing_seed).public,
            authority=authority,
            issuing=SigningKey(issuing_seed),
        ),
        own_subnets=subnets,
        serial=os.urandom(SERIAL_BYTES),
        wall=int(time.time()),
    )
    kept = (
        authority_seed
        if passphrase is None
        else SealedSigningKey.seal(authority_seed, passphrase, entropy=os.urandom)
    )
    save_config(file, config)
    with _whole_or_not(state_dir) as draft:
        save_authority(draft, kept)
        papers = Papers(founding.certificate, founding.issuer, (founding.charter,))
        save_identity(draft, keys, papers)
        save_issuing(draft, issuing_seed, founding.issuer)
    certificate = decode_certificate(parse_envelope(founding.certificate).body)
    v6 = overlay_ipv6(founding.network_id, certificate.wireguard_key)
    return {
        "network": request.network,
        "cidr": str(cidr),
        "ula": str(ula_prefix(founding.network_id)),
        "name": certificate.name,
        "ipv4": str(ipaddress.IPv4Address(certificate.ipv4)),
        "ipv6": str(ipaddress.IPv6Address(v6)),
        "key": str(keys.private_key.public_key()),
        "configFile": str(file),
        "authorityFile": str(state_dir / "authority.key"),
        "issuerSeconds": ISSUER_LIFETIME,
        "certificateSeconds": DEFAULT_LIFETIME,
    }


def _require_new(file: Path, config: NetworkConfig, state_dir: Path) -> None:
    """Refuse a network that is there; one that a crash left half-made is not."""
    is_there = state_dir.exists() and any(state_dir.iterdir())
    if not is_there and file.exists():
        is_there = load_config(file) != config
    if is_there:
        raise ConfigError(
            f"{file if file.exists() else state_dir} is there already: choose another "
            "name"
        )


@contextmanager
def _whole_or_not(state_dir: Path) -> Iterator[Path]:
    """Give a directory to fill, which becomes *state_dir* at once at the end.

    A network whose founder has only some of its keys could never be repaired.
    """
    # No network can be called so.
    draft = state_dir.with_name(f".{state_dir.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    yield draft
    try:
        os.rename(draft, state_dir)
        descriptor = os.open(state_dir.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise HostError(
            f"{state_dir}: {error.strerror}", errno=error.errno or errno.EIO
        ) from error


def default_interface(network: str) -> str:
    """Return the interface of a network whose name may be longer than 15 bytes."""
    return network[:15].rstrip("-")
