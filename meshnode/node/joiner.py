"""Become a member of a network: by an invite, or by a certificate made for us.

Nothing of the host is changed but our own files, in an order that a crash at any
point leaves either a host that is no member, and goes on where it stopped when it
joins again, or a member.
"""

import ipaddress
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from meshnode.codec.names import check_label
from meshnode.codec.record_bytes import (
    decode_certificate,
    decode_charter,
    parse_envelope,
)
from meshnode.codec.records import Kind
from meshnode.crypto.keys import PublicKey
from meshnode.crypto.signing import SigningKey
from meshnode.errors import CodecError, ConfigError, UsageError
from meshnode.manage.config_values import HostPort, NetworkConfig, TlsSettings
from meshnode.manage.contacts import Contact, save_contacts
from meshnode.manage.identity import (
    NodeKeys,
    NotMemberError,
    Papers,
    PendingJoin,
    load_identity,
    load_joining,
    remove_joining,
    save_identity,
    save_joining,
)
from meshnode.manage.network_config import edit_config, save_config
from meshnode.manage.networks import known_networks
from meshnode.manage.paths import Directories
from meshnode.manage.state import FILE_NAME, StateStore
from meshnode.mesh.join_request import create_join_request
from meshnode.mesh.joining import Joining, JoinRefusedError
from meshnode.mesh.ports import KeepRecord
from meshnode.mesh.record_set import identity_of
from meshnode.mesh.requests import Bundle, parse_bundle
from meshnode.mesh.settings import NodeIdentity
from meshnode.mesh.token import parse_token
from meshnode.mesh.trust import Trust, overlay_ipv6
from meshnode.node.exchange import exchange, resolve
from meshnode.node.founding import default_interface
from meshnode.values import frozen

_CLOCK_SKEW: Final = 300
_FINAL_REFUSALS: Final = frozenset(
    (
        *("used", "expired", "revoked", "name-taken", "key-taken"),
        *("no-address", "not-granted"),
    )
)
"""With these the issuer says that it has given our keys no certificate."""


@frozen
class JoinOptions:
    """What the command line says of the node that is to be."""

    bootstrap: tuple[str, ...]
    name: str
    listen_port: int
    interface: str | None
    advertise: tuple[str, ...]
    accept_routes: bool
    timeout: float
    tls: TlsSettings = TlsSettings()


def join_by_token(
    text: str, options: JoinOptions, directories: Directories
) -> dict[str, Any]:
    """Join by an invite; return the facts of the new member.

    Raises:
        ConfigError: if the token is damaged, expired, or of another network than one
            of the same name here.
        JoinRefusedError: if the issuer refuses; nothing was changed.
        NoAnswerError: if nobody answers in time.
        HostError: if a file cannot be written.
    """
    token = parse_token(text)
    state_dir = directories.state_dir(token.network)
    known = _known_identity(state_dir)
    if known is not None:
        _require_same_network(known, token.network_id, token.network)
        _finish(token.network, options, directories)
        return _facts(known, token.network)
    if token.expires + _CLOCK_SKEW < time.time():
        raise ConfigError("the invite has expired: ask for another")
    config = _configuration(token.network, options)
    pending = _pending(state_dir, text, check_label(options.name, "the name"))
    keys = pending.keys
    signing = SigningKey(keys.signing_seed)
    own_key = keys.private_key.public_key().raw
    places = options.bootstrap or token.endpoints
    request = create_join_request(
        signing,
        token.network_id,
        wireguard_key=own_key,
        invite_key=token.invite_private.public_key().raw,
        name=pending.name,
    )
    trust = Trust(token.network_id)
    joining = Joining(trust, request, key=own_key, issuer_key=token.issuer_key)
    try:
        result = exchange(
            joining,
            token=token,
            private_key=keys.private_key,
            endpoints=resolve(places),
            tls=options.tls,
            timeout=options.timeout,
            on_progress=_progress,
        )
    except JoinRefusedError as refusal:
        if refusal.code in _FINAL_REFUSALS:
            remove_joining(state_dir)
        raise
    issuer = trust.verify_member(result.issuer_record, wall=None)
    store = StateStore.open(state_dir / FILE_NAME)
    try:
        store.apply([KeepRecord(identity_of(issuer), Kind.MEMBER, issuer.data)])
    finally:
        store.close()
    both = tuple(dict.fromkeys((*places, *token.endpoints)))
    contact = Contact(
        PublicKey(token.issuer_key), tuple(HostPort.parse(place) for place in both)
    )
    save_contacts(state_dir, (contact,))
    save_config(directories.config_file(token.network), config)
    papers = Papers(result.certificate, result.issuer, result.charters)
    return _facts(save_identity(state_dir, keys, papers), token.network)


def join_by_certificate(
    file: Path | None, options: JoinOptions, directories: Directories
) -> dict[str, Any]:
    """Join by the bundle in *file*, made for a request of this host.

    Without a file, a bundle was taken before: only the bootstrap places are new.

    Raises:
        ConfigError: if the bundle is damaged, or not for keys of this host.
        UsageError: if there is neither a bundle nor a network to take part in.
    """
    if file is None:
        return _join_again(options, directories)
    try:
        bundle = parse_bundle(file.read_text(encoding="utf-8"))
        certificate = decode_certificate(parse_envelope(bundle.certificate).body)
        network = _network_of(bundle)
    except (CodecError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is no bundle: {error}") from None
    state_dir = directories.state_dir(network)
    known = _known_identity(state_dir)
    if known is None:
        pending = load_joining(state_dir)
        if pending is None:
            raise ConfigError(
                f"this host has asked for no certificate of {network}: meshnode cert "
                "request"
            )
        contacts = tuple(
            Contact(PublicKey(one.key), tuple(map(HostPort.parse, one.endpoints)))
            for one in bundle.contacts
        )
        config = _configuration(network, options)
        if contacts:
            save_contacts(state_dir, contacts)
        save_config(directories.config_file(network), config)
        papers = Papers(bundle.certificate, bundle.issuer, bundle.charters)
        known = save_identity(state_dir, pending.keys, papers)
    elif decode_certificate(parse_envelope(known.certificate).body) != certificate:
        raise ConfigError(f"this host is a member of {network} already")
    _finish(network, options, directories)
    return _facts(known, network)


def _join_again(options: JoinOptions, directories: Directories) -> dict[str, Any]:
    names = [
        name
        for name in known_networks(directories.config)
        if _known_identity(directories.state_dir(name)) is not None
    ]
    if len(names) != 1 or not options.bootstrap:
        raise UsageError(
            "join by an invite (TOKEN), or by a certificate made for this host "
            "(--certificate FILE); --bootstrap alone is for a host that has one"
        )
    known = load_identity(directories.state_dir(names[0]))
    _finish(names[0], options, directories)
    return _facts(known, names[0])


def _finish(network: str, options: JoinOptions, directories: Directories) -> None:
    """Add to the configuration what joining again may say."""
    file = directories.config_file(network)
    if not file.exists():
        save_config(file, _configuration(network, options))
        return
    if not options.bootstrap:
        return
    places = tuple(HostPort.parse(place) for place in options.bootstrap)

    def change(config: NetworkConfig) -> NetworkConfig:
        merged = tuple(dict.fromkeys((*places, *config.bootstrap)))
        return replace(config, bootstrap=merged)

    edit_config(file, change)


def _configuration(network: str, options: JoinOptions) -> NetworkConfig:
    return NetworkConfig(
        interface=options.interface or default_interface(network),
        listen_port=options.listen_port,
        advertise=tuple(HostPort.parse(place) for place in options.advertise),
        accept_routes=options.accept_routes,
        bootstrap=tuple(HostPort.parse(place) for place in options.bootstrap),
        tls=options.tls,
    )


def _pending(state_dir: Path, token: str, name: str) -> PendingJoin:
    """Return the keys we ask with: the same ones for the same token, always."""
    word = "".join(token.split())
    known = load_joining(state_dir)
    is_same = known is not None and known.token == word
    keys = known.keys if known is not None and is_same else NodeKeys.new()
    pending = PendingJoin(keys, name, word)
    if pending != known:
        save_joining(state_dir, pending)
    return pending


def _known_identity(state_dir: Path) -> NodeIdentity | None:
    try:
        return load_identity(state_dir)
    except NotMemberError:
        return None


def _require_same_network(known: NodeIdentity, network_id: bytes, name: str) -> None:
    if known.network_id != network_id:
        raise ConfigError(
            f"this host is in another network called {name} already: the invite is "
            "foreign to it"
        )


def _network_of(bundle: Bundle) -> str:
    return decode_charter(parse_envelope(bundle.charters[-1]).body).name


def _facts(identity: NodeIdentity, network: str) -> dict[str, Any]:
    certificate = decode_certificate(parse_envelope(identity.certificate).body)
    v6 = overlay_ipv6(identity.network_id, certificate.wireguard_key)
    return {
        "network": network,
        "name": certificate.name,
        "ipv4": str(ipaddress.IPv4Address(certificate.ipv4)),
        "ipv6": str(ipaddress.IPv6Address(v6)),
        "key": str(identity.private_key.public_key()),
        "notAfter": certificate.not_after,
    }


def _progress(text: str) -> None:
    if os.isatty(sys.stderr.fileno()):
        print(text, file=sys.stderr, flush=True)
