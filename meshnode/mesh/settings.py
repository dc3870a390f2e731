"""Who a node is, and what the administrator of its host decided."""

from dataclasses import field

from meshnode.codec.records import Route
from meshnode.crypto.keys import PrivateKey
from meshnode.crypto.signing import SigningKey
from meshnode.hostplan import Announced, FullTunnel
from meshnode.mesh.relay_server import Limits
from meshnode.types import Cipher, Endpoint, Prefix
from meshnode.values import frozen


@frozen
class IssuerIdentity:
    """An issuing key, and the envelope in which an authority lets it certify."""

    key: SigningKey
    envelope: bytes


@frozen
class NodeIdentity:
    """The keys and papers of one node in one network.

    `certificate` and `issuer` are envelopes (`issuer` b"" if an authority signed the
    certificate); `charters` the chain; `issuing` is there if this node is an issuer.
    """

    network_id: bytes
    private_key: PrivateKey = field(repr=False)
    signing_key: SigningKey = field(repr=False)
    certificate: bytes
    issuer: bytes
    charters: tuple[bytes, ...]
    issuing: IssuerIdentity | None = None


@frozen
class NodeSettings:
    """What NET.toml says, with names resolved.

    `routes` are announced to the mesh, `announced` says how each is carried out here;
    `accept` are the prefixes inside which others' routes are used. `advertised` are
    endpoints others reach us by, beside the host's own addresses; `listen_port` is
    the real UDP port. `imported` are the prefixes of WireGuard peers that were
    configured by hand. `ciphers` are those preferred to WireGuard's, the best first.
    `mtu` is what every member is sent at most, in bytes, and `max_mtu` those to whom
    the path is proven to carry it. `relay` lets us forward for other members, within
    `relay_limits`, if our certificate has the role. `bindings_per_second` is how many
    new entries of a NAT a search for a path may make a second. `offers_exit` lets
    others leave by us as far as our certificate goes; `exits` names the members that
    we leave by, the best first, and `full_tunnel` is there if there are any.
    """

    interface: str
    table: int
    fwmark: int
    mtu: int
    listen_port: int
    accept: tuple[Prefix, ...] = ()
    routes: tuple[Route, ...] = ()
    announced: tuple[Announced, ...] = ()
    advertised: tuple[Endpoint, ...] = ()
    imported: tuple[Prefix, ...] = ()
    ciphers: tuple[Cipher, ...] = ()
    max_mtu: int = 0
    relay: bool = True
    relay_limits: Limits = Limits()
    bindings_per_second: float = 200.0
    offers_exit: bool = False
    exits: tuple[str, ...] = ()
    full_tunnel: FullTunnel | None = None
