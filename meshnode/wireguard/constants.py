"""The numbers of WireGuard, and ours. Times are seconds unless the name says more."""

from typing import Final

# --- The paper's (6.1), and those every implementation shares ---

# Messages sent under a key pair before either side asks for a new one.
REKEY_AFTER_MESSAGES: Final = 2**60
# Messages after which a key pair is dead; leaves room for one replay window.
REJECT_AFTER_MESSAGES: Final = 2**64 - 2**13 - 1
# Age of a session at which its initiator, when it sends, asks for a new one.
REKEY_AFTER_TIME: Final = 120.0
# Age of a session at which nothing is sent or accepted under it any more.
REJECT_AFTER_TIME: Final = 180.0
# How long handshakes are tried before staged packets are given up.
REKEY_ATTEMPT_TIME: Final = 90.0
# Wait for a response, and least distance between two initiations of ours.
REKEY_TIMEOUT: Final = 5.0
# Silence after received data that we break with an empty packet.
KEEPALIVE_TIMEOUT: Final = 10.0
# Retransmissions in one attempt: REKEY_ATTEMPT_TIME / REKEY_TIMEOUT.
MAX_HANDSHAKE_ATTEMPTS: Final = 18
# Greatest random addition to REKEY_TIMEOUT, so that two peers do not stay in step.
REKEY_JITTER: Final = 0.333
# Age at which the secret behind our cookies is replaced, and cookies expire.
COOKIE_SECRET_MAX_AGE: Final = 120.0
# A cookie is used this much less long, for it needs time to arrive.
COOKIE_SECRET_LATENCY: Final = 5.0
# Least distance between two initiations accepted from one peer: 50 a second.
INITIATION_INTERVAL: Final = 0.02
# Age at which a receiving initiator asks for a new session, while it still can:
# REJECT_AFTER_TIME - KEEPALIVE_TIMEOUT - REKEY_TIMEOUT.
RECEIVE_REKEY_AGE: Final = 165.0
# Time after the last new session at which all keys go: 3 * REJECT_AFTER_TIME.
ZERO_KEYS_AFTER: Final = 540.0
# Packets kept for one peer while there is no session; the oldest goes first.
MAX_STAGED_PACKETS: Final = 128
# Bits of the replay bitmap (RFC 6479).
WINDOW_BITS: Final = 8192
# Counters it covers: the bitmap without its one redundant 64-bit word.
WINDOW: Final = 8128
# Inner packets are padded with zeros to a multiple of this many bytes.
PADDING: Final = 16
# Cookie-proven handshakes a second from one IPv4 address or IPv6 /64, under load.
COOKIE_RATE: Final = 20
# How many of them may come at once.
COOKIE_BURST: Final = 5
# MTU in bytes: 1500 less the worst overhead, IPv6 + UDP + type 4.
DEFAULT_MTU: Final = 1420

# --- Ours: where implementations differ or leave it open ---

# Handshake messages that may wait; more are dropped (wireguard-go's number).
HANDSHAKE_QUEUE: Final = 1024
# How long we stay under load after the queue was last 1/8 full (as the kernel).
UNDER_LOAD_STICKY: Final = 1.0
# Peers one device can hold (wireguard-go's number).
MAX_PEERS: Final = 65536
