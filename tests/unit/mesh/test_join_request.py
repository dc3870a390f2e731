"""Join requests: the signature covers every part."""

import random
from dataclasses import replace

from meshnode.crypto.signing import SigningKey
from meshnode.mesh.join_request import create_join_request, is_signed


def test_a_request_holds_for_what_it_says_only(rng: random.Random) -> None:
    """Changing the network, either key, the invite or the name breaks it."""
    network, key, invite = rng.randbytes(16), rng.randbytes(32), rng.randbytes(32)
    signing_key = SigningKey(rng.randbytes(32))
    request = create_join_request(
        signing_key, network, wireguard_key=key, invite_key=invite, name="alpha"
    )
    assert request.invite_key == invite
    assert request.signing_key == signing_key.public
    assert is_signed(request, network, key)
    assert not is_signed(request, bytes(16), key)
    assert not is_signed(request, network, bytes(32))
    other = SigningKey(rng.randbytes(32)).public
    for changed in (
        replace(request, name="beta"),
        replace(request, invite_key=bytes(32)),
        replace(request, signing_key=other),
        replace(request, signing_key=bytes(32)),
        replace(request, signature=bytes(64)),
        replace(request, signature=request.signature[:-1]),
    ):
        assert not is_signed(changed, network, key)
