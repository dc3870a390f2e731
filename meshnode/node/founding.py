"""Found a network: keys, papers and configuration of its first node."""

import ipaddress
import os
import time
from dataclasses import dataclass
from typing import Any

from meshnode.codec.names import check_label
from meshnode.codec.record_bytes import decode_certificate, parse_envelope
from meshnode.crypto.signing import SigningKey
from meshnode.errors import ConfigError
from meshnode.manage.config_values import HostPort, NetworkConfig
from meshnode.manage.identity import (
    NodeKeys,
    Papers,
    save_authority,
    save_identity,
    save_issuing,
)
from meshnode.manage.identity_files import SealedSigningKey
from meshnode.manage.network_config import save_config
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


@dataclass(frozen=True, slots=True)
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
    if file.exists():
        raise ConfigError(f"{file} is there already: choose another name")
    config = NetworkConfig(
        interface=request.interface or default_interface(request.network),
        listen_port=request.listen_port,
        advertise=tuple(HostPort.parse(place) for place in request.advertise),
        accept_routes=request.accept_routes,
    )
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
    state_dir = directories.state_dir(request.network)
    kept = (
        authority_seed
        if passphrase is None
        else SealedSigningKey.seal(authority_seed, passphrase, entropy=os.urandom)
    )
    save_authority(state_dir, kept)
    papers = Papers(founding.certificate, founding.issuer, (founding.charter,))
    save_identity(state_dir, keys, papers)
    save_issuing(state_dir, issuing_seed, founding.issuer)
    # Last, for with it the network is one of this host.
    save_config(file, config)
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


def default_interface(network: str) -> str:
    """Return the interface of a network whose name may be longer than 15 bytes."""
    return network[:15].rstrip("-")
