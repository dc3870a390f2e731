"""Changes default to changing nothing, and print no secret."""

from meshnode.crypto.keys import PresharedKey, PrivateKey, PublicKey
from meshnode.wireguard.config import DeviceChange, DeviceState, PeerChange, PeerState


def test_an_empty_change_leaves_everything():
    """None and False mean: as it is."""
    change = DeviceChange()
    assert change.private_key is None
    assert not change.clear_private_key
    assert not change.replace_peers
    peer = PeerChange(PublicKey(bytes(32)))
    assert not peer.remove
    assert peer.preshared_key is None
    assert peer.allowed_ips == []


def test_two_changes_share_no_list():
    """Each has its own peers and prefixes."""
    DeviceChange().peers.append(PeerChange(PublicKey(bytes(32))))
    assert DeviceChange().peers == []
    assert DeviceState().peers == []


def test_no_secret_is_printed():
    """Private and preshared keys are hidden in every repr."""
    secret = bytes(range(32))
    private = PrivateKey(secret)
    state = DeviceState(
        private_key=private,
        peers=[
            PeerState(
                slot=0,
                public_key=PublicKey(bytes(32)),
                preshared_key=PresharedKey(secret),
                path=None,
                persistent_keepalive=0,
                latest_timestamp=bytes(12),
                last_handshake=0.0,
                allowed_ips=[],
            )
        ],
    )
    for text in (repr(state), repr(DeviceChange(private_key=private))):
        assert private.reveal().hex() not in text
        assert private.to_base64() not in text
        assert secret.hex() not in text
