"""The exceptions of meshnode, and the reasons a datagram is dropped.

`BadPacket` stays inside the packages that parse; whoever receives bytes from the
network counts its reason and goes on. Everything a user may meet is a
`MeshnodeError` whose text is one line that names the remedy.
"""

import enum


class MeshnodeError(Exception):
    """Base of every error that is shown to a user.

    `exit_code` is what the command line ends with; the README lists the codes.
    """

    exit_code = 1


class UsageError(MeshnodeError):
    """A command or a request was worded wrongly."""

    exit_code = 2


class ConfigError(MeshnodeError):
    """A configuration, key or request has a bad value; nothing was changed.

    `errno` is what the userspace API answers for it.
    """

    def __init__(self, message: str, *, errno: int = 22) -> None:
        super().__init__(message)
        self.errno = errno


class HostError(MeshnodeError):
    """The operating system refused something; `errno` is its reason, if any."""

    def __init__(self, message: str, *, errno: int = 5) -> None:
        super().__init__(message)
        self.errno = errno


class PrivilegeError(HostError):
    """A privilege is missing."""

    exit_code = 5


class CryptoError(MeshnodeError):
    """A cryptographic operation failed on data of our own (a sealed key file)."""


class AuthenticationError(Exception):
    """A tag did not verify, or a key exchange gave an all-zero secret."""


class DropReason(enum.Enum):
    """Why a datagram or packet was dropped; one named counter each."""

    BAD_LENGTH = "bad length"
    BAD_TYPE = "unknown type"
    BAD_MAC1 = "bad mac1"
    BAD_MAC2 = "cookie required"
    RATE_LIMITED = "over the rate limit"
    QUEUE_FULL = "handshake queue full"
    NO_IDENTITY = "no private key"
    DEVICE_DOWN = "interface is down"
    UNKNOWN_INDEX = "unknown receiver index"
    UNKNOWN_PEER = "unknown peer"
    BAD_HANDSHAKE = "handshake does not authenticate"
    WEAK_KEY = "key exchange gave zero"
    OLD_TIMESTAMP = "timestamp not newer"
    INITIATION_FLOOD = "initiation too soon"
    WRONG_STATE = "no handshake waiting for it"
    UNSOLICITED_COOKIE = "cookie reply not asked for"
    BAD_COOKIE = "cookie reply does not authenticate"
    KEY_EXPIRED = "session too old"
    COUNTER_LIMIT = "counter at its limit"
    BAD_TAG = "data does not authenticate"
    REPLAY = "counter seen before"
    BAD_INNER = "malformed inner packet"
    BAD_SOURCE = "inner source not allowed"
    NO_ROUTE = "no peer for destination"
    NO_ENDPOINT = "peer has no endpoint"
    STAGED_FULL = "staged queue full"
    SEND_ERROR = "send refused by the host"
    CONTROL_FULL = "too many control frames"
    UNKNOWN_CHANNEL = "unknown relay channel"
    CHANNEL_SOURCE = "not from who has the relay channel"
    CHANNEL_LIMIT = "over the limit of the relay channel"


class BadPacket(Exception):
    """Untrusted bytes were refused; `reason` says why."""

    def __init__(self, reason: DropReason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class CodecError(ValueError):
    """Bytes are no message or record of ours, or a value has a field out of range."""
