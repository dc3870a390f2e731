"""The joiner's request for a certificate: its signature binds all that it asks for.

It ties the signing key to the WireGuard key, the invite and the network, so that an
issuer can certify no pair of keys that one host did not put together itself.
"""

from typing import Final

from meshnode.codec.messages import JoinRequest
from meshnode.crypto.signing import SigningKey, verify
from meshnode.errors import AuthenticationError

_LABEL: Final = b"meshnode/1 join"


def create_join_request(
    signing_key: SigningKey,
    network_id: bytes,
    *,
    wireguard_key: bytes,
    invite_key: bytes,
    name: str,
) -> JoinRequest:
    """Return the request of the host with these keys, by this invite.

    *name* is a label; an invite that gives a name overrides it.
    """
    data = _signed(network_id, wireguard_key, signing_key.public, invite_key, name)
    return JoinRequest(invite_key, signing_key.public, name, signing_key.sign(data))


def is_signed(request: JoinRequest, network_id: bytes, wireguard_key: bytes) -> bool:
    """Whether the owner of `request.signing_key` asks for *wireguard_key*."""
    data = _signed(
        network_id,
        wireguard_key,
        request.signing_key,
        request.invite_key,
        request.name,
    )
    try:
        verify(request.signing_key, data, request.signature)
    except AuthenticationError:
        return False
    return True


def _signed(
    network_id: bytes,
    wireguard_key: bytes,
    signing_key: bytes,
    invite_key: bytes,
    name: str,
) -> bytes:
    # All but the last have one length each, so no two requests read the same.
    keys = wireguard_key + signing_key + invite_key
    return _LABEL + network_id + keys + name.encode()
