"""A load of WireGuard handshakes: how many a second can a responder answer?

Written from the paper's message layout, apart from meshnode's own code, so that a
mistake of the one is not hidden by the other. All initiations are made before the
clock starts; then a fixed number is kept in flight. Each comes from the next of many
initiators, as a responder takes at most one initiation from each in 20 ms.

Run inside a host: `python -m topology.handshakes ADDRESS PORT SECONDS`, with the
responder's public key and the initiators' private keys, a line each in base64, as
standard input; it writes a JSON object with `handshakes`, `cookies` and `seconds`.
"""

import hmac
import json
import os
import socket
import struct
import sys
import time
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2s
from itertools import islice
from pathlib import Path

from nacl.bindings import (
    crypto_aead_chacha20poly1305_ietf_encrypt as seal,
)
from nacl.bindings import crypto_scalarmult as x25519
from nacl.bindings import crypto_scalarmult_base as x25519_base

from topology.hosts import Port
from topology.processes import LabError
from topology.tunnels import LISTEN_PORT, Keys, UserspaceWireGuard
from topology.usage import usage_of

INITIATORS = 512
IN_FLIGHT = 16
"""Well below the queue length at which wireguard-go asks for cookies (128)."""

PREPARED_PER_SECOND = 6000
"""Initiations made beforehand for each measured second; a faster responder ends
the measurement early."""

_CONSTRUCTION = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"
_IDENTIFIER = b"WireGuard v1 zx2c4 Jason@zx2c4.com"
_TAI64_EPOCH = 0x400000000000000A
_LOST_AFTER = 0.25


@dataclass(frozen=True, slots=True)
class HandshakeRate:
    """What the load saw: answered initiations, cookie replies, measured seconds.

    `processor_seconds` is what the responder's processes used meanwhile.
    """

    handshakes: int
    cookies: int
    seconds: float
    processor_seconds: float = 0.0

    @property
    def per_second(self) -> float:
        """Handshakes answered a second."""
        return self.handshakes / self.seconds

    @property
    def processor_seconds_each(self) -> float:
        """The responder's processor seconds for each handshake answered."""
        return self.processor_seconds / self.handshakes


@dataclass(slots=True)
class Initiator:
    """One peer that begins handshakes with one responder (paper, 5.4.2)."""

    private: bytes = field(repr=False)
    responder: bytes

    def initiation(self, index: int, timestamp: bytes) -> bytes:
        """Return a first message with sender *index* and a 12-byte TAI64N label."""
        chain = _hash(_CONSTRUCTION)
        digest = _hash(_hash(chain + _IDENTIFIER) + self.responder)
        ephemeral = os.urandom(32)
        ephemeral_public = x25519_base(ephemeral)
        chain = _kdf(chain, ephemeral_public, 1)[0]
        digest = _hash(digest + ephemeral_public)
        chain, key = _kdf(chain, x25519(ephemeral, self.responder), 2)
        static = seal(x25519_base(self.private), digest, bytes(12), key)
        digest = _hash(digest + static)
        chain, key = _kdf(chain, x25519(self.private, self.responder), 2)
        stamp = seal(timestamp, digest, bytes(12), key)
        message = struct.pack("<II", 1, index) + ephemeral_public + static + stamp
        mac_key = _hash(b"mac1----" + self.responder)
        mac1 = blake2s(message, key=mac_key, digest_size=16).digest()
        return message + mac1 + bytes(16)


def measure(
    implementation: UserspaceWireGuard, left: Port, right: Port, *, seconds: int
) -> HandshakeRate:
    """Load a responder of *implementation* on the right host from the left one."""
    initiators = [Keys.generate() for _ in range(INITIATORS)]
    device = implementation.start(right.host)
    try:
        device.set_config(
            f"[Interface]\nPrivateKey = {device.keys.private}\n"
            f"ListenPort = {LISTEN_PORT}\n"
            + "".join(f"[Peer]\nPublicKey = {keys.public}\n" for keys in initiators)
        )
        device.bring_up()
        secrets = [device.public_key, *(keys.private for keys in initiators)]
        before = usage_of(right.host.processes())
        result = left.host.run(
            [sys.executable, "-m", __name__, right.v4, str(LISTEN_PORT), str(seconds)],
            stdin="\n".join(secrets),
            timeout=10 * seconds + 20,
            environment={"PYTHONPATH": str(Path(__file__).parents[1])},
        )
        used = usage_of(right.host.processes()) - before
    finally:
        device.stop()
    rate = HandshakeRate(
        **json.loads(result.stdout), processor_seconds=used.processor_seconds
    )
    if not rate.handshakes:
        raise LabError(f"{implementation.name} answered no initiation")
    return rate


def main(arguments: list[str]) -> int:
    """Send the load that the module's docstring describes."""
    address, port, seconds = arguments[0], int(arguments[1]), float(arguments[2])
    responder, *privates = (b64decode(line) for line in sys.stdin.read().split())
    initiators = [Initiator(private, responder) for private in privates]
    prepared = _prepare(initiators, int(seconds * PREPARED_PER_SECOND))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.connect((address, port))
        udp.settimeout(_LOST_AFTER)
        rate = _drive(udp, iter(prepared), seconds)
    json.dump(
        {
            "handshakes": rate.handshakes,
            "cookies": rate.cookies,
            "seconds": rate.seconds,
        },
        sys.stdout,
    )
    return 0


def _prepare(initiators: list[Initiator], count: int) -> list[bytes]:
    now = int(time.time())
    messages = []
    for index in range(count):
        # Each initiator's labels must rise; a second a round is above any whitening.
        stamp = struct.pack(">QI", _TAI64_EPOCH + now + index // len(initiators), 0)
        initiator = initiators[index % len(initiators)]
        messages.append(initiator.initiation(index, stamp))
    return messages


def _drive(
    udp: socket.socket, messages: Iterator[bytes], seconds: float
) -> HandshakeRate:
    answered, cookies = set[int](), 0
    started = last = time.monotonic()
    missing = IN_FLIGHT
    while last - started < seconds:
        batch = list(islice(messages, missing))
        if len(batch) < missing:
            break
        for message in batch:
            udp.send(message)
        try:
            reply, missing = udp.recv(2048), 1
        except TimeoutError:
            reply, missing = b"", IN_FLIGHT
        last = time.monotonic()
        if len(reply) == 92:
            answered.add(struct.unpack_from("<I", reply, 8)[0])
        elif len(reply) == 64:
            cookies += 1
    return HandshakeRate(len(answered), cookies, last - started)


def _hash(data: bytes) -> bytes:
    return blake2s(data).digest()


def _kdf(key: bytes, data: bytes, count: int) -> list[bytes]:
    secret = hmac.digest(key, data, blake2s)
    outputs = [hmac.digest(secret, b"\x01", blake2s)]
    while len(outputs) < count:
        label = bytes([len(outputs) + 1])
        outputs.append(hmac.digest(secret, outputs[-1] + label, blake2s))
    return outputs


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
