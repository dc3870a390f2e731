"""What control tells the data plane, and what the data plane tells control.

Control programs the workers like a forwarding table: every `Command` is
idempotent and refers to a peer by its slot. `Report` values travel the other way.
`meshnode.codec.forwarding` gives both their bytes.

After a restart of either side control sends `Reset`, its whole table, and
`ProgramComplete`; the worker swaps the table in at that point and forgets what the
new table does not hold. Sessions of peers that stay survive a restart of control.
"""

from dataclasses import field
from typing import Final

from meshnode.types import Cipher, Path, Prefix
from meshnode.values import frozen

MAX_CONTROL_FRAME: Final = 1203
"""Bytes of the longest control frame: first byte, length, and 1,200 of message."""

MAX_INNER: Final = 65_455
"""Bytes of the largest packet that a session carries: IPv6 has no larger ones."""

MIN_PROBE: Final = 256
"""Bytes of the smallest probe of a path, and of the longest frame that one begins with:
no link is that narrow."""

MAX_OWNERS: Final = 16
"""The most owners, to forward to or to accept from, of a shared prefix."""

MAX_WORKERS: Final = 16
"""The most workers of each direction: every one has a bit in a session's holders."""

MAX_WEIGHT: Final = 255
"""The greatest part of the flows that an owner can have; the least is 1."""


@frozen
class Session:
    """One key pair of one peer, as the data plane needs it.

    Indices are 32-bit; keys are 32 bytes and shown in no repr; `born_at` is
    boottime seconds. `place` is where workers share its counter and window
    (`dataplane.shared_sessions`), where there are several; who makes the keys says 0.
    """

    local_index: int
    remote_index: int
    send_key: bytes = field(repr=False)
    receive_key: bytes = field(repr=False)
    born_at: float
    is_initiator: bool
    place: int = 0


@frozen
class Reset:
    """Begin a new table; `generation` is that of the worker it is meant for."""

    generation: int


@frozen
class ProgramComplete:
    """The table begun by `Reset` is whole: swap it in."""


@frozen
class SetLink:
    """The TUN device's MTU in bytes, and whether it is up."""

    mtu: int
    up: bool


@frozen
class SetIdentity:
    """Our static public key, 32 bytes (b"" for none): all that mac1 needs."""

    public_key: bytes


@frozen
class AddPeer:
    """A peer takes *slot*.

    If it *is_sought*, packets for it wait even while it has no endpoint: somebody is
    looking for it.
    """

    slot: int
    is_sought: bool = False


@frozen
class RemovePeer:
    """The peer in *slot* goes, with its sessions, staged packets and prefixes."""

    slot: int


@frozen
class SetEndpoint:
    """Send to the peer by *path*; None if it is not known."""

    slot: int
    path: Path | None


@frozen
class AddAllowedIps:
    """Route these prefixes to the peer, taking them from any other owner."""

    slot: int
    prefixes: tuple[Prefix, ...]


@frozen
class RemoveAllowedIps:
    """Stop routing those of these prefixes that the peer owns."""

    slot: int
    prefixes: tuple[Prefix, ...]


@frozen
class ShareOfPrefix:
    """One owner of a shared prefix: its slot and its part of the flows, 1–255."""

    slot: int
    weight: int


@frozen
class SharePrefix:
    """Give a prefix to several peers, taking it from any other owner.

    Flows are spread over `forward` by weight, each flow to one owner always; inner
    sources are accepted from every slot of `accept` (and no other). At most 16 each.
    """

    prefix: Prefix
    forward: tuple[ShareOfPrefix, ...]
    accept: tuple[int, ...]


@frozen
class UnsharePrefix:
    """Stop sharing this prefix; nobody owns it then."""

    prefix: Prefix


@frozen
class InstallSession:
    """Accept data under this session from now on; do not send with it yet."""

    slot: int
    session: Session


@frozen
class UseSession:
    """Send with this session from now on, beginning with the staged packets.

    A `local_index` of 0, which no session has, stops sending under any; what was
    installed can still be received.
    """

    slot: int
    local_index: int


@frozen
class PreferSession:
    """Send with this session, unless the one in use is younger.

    Ingress says so to egress when the first packet of a session has come in which we
    answered, so that the reply to that packet goes out under it. Control says
    `UseSession` later; if two handshakes crossed, it may say so of another session.
    """

    slot: int
    local_index: int


@frozen
class SetCipher:
    """Send under this cipher in this session from now on; the peer takes it."""

    slot: int
    local_index: int
    cipher: Cipher


@frozen
class RetireSession:
    """Forget this session's keys."""

    slot: int
    local_index: int


@frozen
class SendKeepalive:
    """Send the staged packets or, if there are none, an empty one."""

    slot: int


@frozen
class SendControl:
    """Send this control frame (first byte 0x01, at most 1,203 bytes) to the peer.

    With a *path* it goes by that one, whatever the peer's is, and at once: without a
    session it is dropped.
    """

    slot: int
    frame: bytes
    path: Path | None = None


@frozen
class SendProbe:
    """Send this control frame at once, whole or not at all, to prove the path's size.

    Zeros fill it up to *size*, 256 to 65,455 bytes. Without a session or a path it is
    dropped. Its answer is the only proof that it arrived: to the timers it is no data.
    """

    slot: int
    frame: bytes
    size: int


@frozen
class SetStandby:
    """Send by this path too what is sent to the peer as data; None to end that.

    It is the same ciphertext, so the peer takes what arrives first. At least one of
    the two should be a channel: between two endpoints the other end would move us to
    and fro.
    """

    slot: int
    path: Path | None


@frozen
class OpenChannel:
    """Take type 5 datagrams with the number *channel* from the peer in *slot*.

    They are for us if *onward* is None: their content is received as if it came from
    the endpoint of the channel, and what we send there goes to that peer with the
    number *label*. Otherwise they go on to the peer in *onward*, with *label* in place
    of our number, at most *rate* bytes a second (0 for no limit) and *quota* bytes in
    all (0 for no limit) until the command is repeated.

    They must come from where the peer is, by its authenticated path, and go only to
    where the other is by its own; a peer that is behind a channel itself has none.
    """

    channel: int
    slot: int
    label: int
    onward: int | None = None
    rate: int = 0
    quota: int = 0


@frozen
class CloseChannel:
    """Take no more datagrams with this number, and send none to its endpoint."""

    channel: int


@frozen
class DropStaged:
    """Throw the staged packets away: the handshake was given up."""

    slot: int


Command = (
    Reset
    | ProgramComplete
    | SetLink
    | SetIdentity
    | AddPeer
    | RemovePeer
    | SetEndpoint
    | AddAllowedIps
    | RemoveAllowedIps
    | SharePrefix
    | UnsharePrefix
    | InstallSession
    | UseSession
    | PreferSession
    | SetCipher
    | RetireSession
    | SendKeepalive
    | SendControl
    | SendProbe
    | SetStandby
    | OpenChannel
    | CloseChannel
    | DropStaged
)


@frozen
class NeedSession:
    """A packet for the peer is staged and no session can carry it.

    *for_users* is whether one of those staged is no control frame.
    """

    slot: int
    for_users: bool = True


@frozen
class TrafficResumed:
    """The first timer-relevant packet passed while nobody watched the peer."""

    slot: int


@frozen
class EndpointMoved:
    """Authenticated data came from another endpoint than the one in use.

    Or from any path, if there was none. By relay channels no peer moves by itself,
    neither from one to another nor to an endpoint or from there: that is `PathHeard`.
    """

    slot: int
    path: Path


@frozen
class PathHeard:
    """Authenticated data came by a path that only control may let the peer move to.

    Told once, until control sets the peer's path, to the same or another, or it came
    by four others.
    """

    slot: int
    path: Path


@frozen
class SessionConfirmed:
    """The first authenticated packet arrived under this session."""

    slot: int
    local_index: int


@frozen
class RekeyDue:
    """This session is old or used enough that a new one is due.

    `received` says the receive path saw it (once per session, paper 6.2), else
    the send path did.
    """

    slot: int
    local_index: int
    received: bool


@frozen
class HandshakeLoad:
    """More handshakes arrive than control should answer without asking for cookies.

    Repeated while it lasts, more often than once a second.
    """


@frozen
class ControlReceived:
    """An authenticated control frame came from the peer; padding is still on it.

    If that was more than any frame has, the last *cut* bytes are not here. *path* is
    the one it came by.
    """

    slot: int
    frame: bytes
    cut: int = 0
    path: Path | None = None


@frozen
class HeldSession:
    """A session a worker still holds, told to a control process that restarted."""

    slot: int
    local_index: int
    remote_index: int
    born_at: float
    is_initiator: bool
    in_use: bool
    cipher: Cipher


@frozen
class SessionsHeld:
    """Every session a worker holds: its answer to `Reset`, perhaps in parts."""

    sessions: tuple[HeldSession, ...]
    last: bool


Report = (
    NeedSession
    | TrafficResumed
    | EndpointMoved
    | PathHeard
    | SessionConfirmed
    | RekeyDue
    | HandshakeLoad
    | ControlReceived
    | SessionsHeld
)
