"""Write known answers for the WireGuard handshake, from implementations not ours.

The Noise messages and the session keys come from the `noiseprotocol` package, data
messages from `cryptography`, MACs from `hashlib`, and the cookie's encryption from
HChaCha20, written out below, and `cryptography`. Nothing of meshnode is imported, so
the vectors cannot repeat a mistake of ours. All inputs are fixed: every run writes
the same bytes.

    python tools/make_vectors.py > tests/vectors/wireguard_handshake.json
"""

import hashlib
import json
import struct
import sys
import warnings
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from noise.connection import Keypair, NoiseConnection

IDENTIFIER = b"WireGuard v1 zx2c4 Jason@zx2c4.com"
PROVENANCE = (
    "Made by tools/make_vectors.py from fixed inputs with noiseprotocol 0.3.1, "
    "cryptography and hashlib; no code of this project took part. Hexadecimal."
)


@dataclass
class Inputs:
    """Everything that is random in a real handshake."""

    name: str
    initiator_private: bytes
    responder_private: bytes
    initiator_ephemeral: bytes
    responder_ephemeral: bytes
    preshared_key: bytes
    timestamp: bytes
    initiator_index: int
    responder_index: int
    cookie: bytes
    cookie_nonce: bytes


def fixed_bytes(name: str, size: int) -> bytes:
    """Return bytes that depend on *name* only."""
    return hashlib.shake_256(name.encode()).digest(size)


def make_inputs(name: str, preshared_key: bytes) -> Inputs:
    """Fill everything in from *name*."""
    return Inputs(
        name=name,
        initiator_private=fixed_bytes(f"{name} initiator private", 32),
        responder_private=fixed_bytes(f"{name} responder private", 32),
        initiator_ephemeral=fixed_bytes(f"{name} initiator ephemeral", 32),
        responder_ephemeral=fixed_bytes(f"{name} responder ephemeral", 32),
        preshared_key=preshared_key,
        timestamp=bytes.fromhex("400000006553f10a0a000000"),
        initiator_index=0x01020304,
        responder_index=0xFFFEFDFC,
        cookie=fixed_bytes(f"{name} cookie", 16),
        cookie_nonce=fixed_bytes(f"{name} cookie nonce", 24),
    )


def public_of(private: bytes) -> bytes:
    """Return the Curve25519 public key."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def noise_party(
    private: bytes, ephemeral: bytes, preshared: bytes, remote: bytes | None
) -> NoiseConnection:
    """Set one side up; *remote* is the responder's key, for the initiator only."""
    party = NoiseConnection.from_name(b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s")
    party.set_prologue(IDENTIFIER)
    party.set_psks(preshared)
    party.set_keypair_from_private_bytes(Keypair.STATIC, private)
    party.set_keypair_from_private_bytes(Keypair.EPHEMERAL, ephemeral)
    if remote is None:
        party.set_as_responder()
    else:
        party.set_keypair_from_public_bytes(Keypair.REMOTE_STATIC, remote)
        party.set_as_initiator()
    with warnings.catch_warnings():
        # It warns of the fixed ephemeral, which is the point here.
        warnings.simplefilter("ignore", UserWarning)
        party.start_handshake()
    return party


def keyed(key: bytes, data: bytes) -> bytes:
    """Return the paper's MAC."""
    return hashlib.blake2s(data, digest_size=16, key=key).digest()


def with_macs(body: bytes, receiver_public: bytes, cookie: bytes | None) -> bytes:
    """Append mac1 and mac2."""
    key = hashlib.blake2s(b"mac1----" + receiver_public).digest()
    body += keyed(key, body)
    return body + (bytes(16) if cookie is None else keyed(cookie, body))


def hchacha20(key: bytes, nonce: bytes) -> bytes:
    """Derive the subkey of XChaCha20 (draft-irtf-cfrg-xchacha-03, 2.2)."""
    state = list(struct.unpack("<16I", b"expand 32-byte k" + key + nonce))
    columns = [(i, i + 4, i + 8, i + 12) for i in range(4)]
    diagonals = [
        (i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4) for i in range(4)
    ]
    for _ in range(10):
        for a, b, c, d in columns + diagonals:
            for x, y, z, turn in (
                (a, b, d, 16),
                (c, d, b, 12),
                (a, b, d, 8),
                (c, d, b, 7),
            ):
                state[x] = (state[x] + state[y]) % 2**32
                mixed = state[z] ^ state[x]
                state[z] = (mixed << turn | mixed >> (32 - turn)) % 2**32
    return struct.pack("<8I", *state[:4], *state[12:])


def make_cookie_reply(inputs: Inputs, offending: bytes, public: bytes) -> bytes:
    """Return the cookie reply to a message sent to the owner of *public*."""
    key = hashlib.blake2s(b"cookie--" + public).digest()
    cipher = ChaCha20Poly1305(hchacha20(key, inputs.cookie_nonce[:16]))
    nonce = bytes(4) + inputs.cookie_nonce[16:]
    sealed = cipher.encrypt(nonce, inputs.cookie, offending[-32:-16])
    return struct.pack("<I", 3) + offending[4:8] + inputs.cookie_nonce + sealed


def data_message(key: bytes, receiver: int, counter: int, plaintext: bytes) -> bytes:
    """Return a transport data message."""
    nonce = bytes(4) + struct.pack("<Q", counter)
    sealed = ChaCha20Poly1305(key).encrypt(nonce, plaintext, None)
    return struct.pack("<IIQ", 4, receiver, counter) + sealed


def transcript(inputs: Inputs) -> dict[str, str | int]:
    """Run the handshake and return all inputs and outputs."""
    initiator_public = public_of(inputs.initiator_private)
    responder_public = public_of(inputs.responder_private)
    initiator = noise_party(
        inputs.initiator_private,
        inputs.initiator_ephemeral,
        inputs.preshared_key,
        responder_public,
    )
    responder = noise_party(
        inputs.responder_private,
        inputs.responder_ephemeral,
        inputs.preshared_key,
        None,
    )
    first = bytes(initiator.write_message(inputs.timestamp))
    if bytes(responder.read_message(first)) != inputs.timestamp:
        raise RuntimeError("the oracle does not read its own initiation")
    second = bytes(responder.write_message(b""))
    initiator.read_message(second)
    head = struct.pack("<II", 1, inputs.initiator_index)
    initiation = with_macs(head + first, responder_public, None)
    with_cookie = with_macs(head + first, responder_public, inputs.cookie)
    head = struct.pack("<III", 2, inputs.responder_index, inputs.initiator_index)
    response = with_macs(head + second, initiator_public, None)
    to_responder = bytes(initiator.noise_protocol.cipher_state_encrypt.k)
    to_initiator = bytes(initiator.noise_protocol.cipher_state_decrypt.k)
    outputs = {
        "initiator_public": initiator_public,
        "responder_public": responder_public,
        "initiation": initiation,
        "initiation_with_cookie": with_cookie,
        "response": response,
        "cookie_reply": make_cookie_reply(inputs, initiation, responder_public),
        "key_to_responder": to_responder,
        "key_to_initiator": to_initiator,
        "keepalive": data_message(to_responder, inputs.responder_index, 0, b""),
        "data": data_message(to_initiator, inputs.initiator_index, 7, bytes(32)),
    }
    return {
        name: value.hex() if isinstance(value, bytes) else value
        for name, value in {**vars(inputs), **outputs}.items()
    }


def main() -> None:
    """Write the JSON to standard output."""
    transcripts = [
        transcript(make_inputs("no preshared key", bytes(32))),
        transcript(make_inputs("preshared key", fixed_bytes("preshared", 32))),
    ]
    document = {"provenance": PROVENANCE, "transcripts": transcripts}
    json.dump(document, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
