"""What the mesh tells its shell and whoever watches; `MeshNode.next_event` has them."""

from meshnode.values import frozen


@frozen
class MemberJoined:
    """A member is known that was not, or counts again."""

    name: str
    key: bytes


@frozen
class MemberChanged:
    """A member's record changed: certificate, routes or roles."""

    name: str
    key: bytes


@frozen
class MemberGone:
    """A member no longer counts; `why` is left, revoked, expired or replaced."""

    name: str
    key: bytes
    why: str


@frozen
class PeerUp:
    """A session with the member is confirmed."""

    name: str
    key: bytes


@frozen
class PeerDown:
    """The member does not answer any more."""

    name: str
    key: bytes


@frozen
class RoutesChanged:
    """The table of prefixes and owners is another."""


@frozen
class PolicyChanged:
    """Another policy is in force."""

    version: int


@frozen
class CertificateRenewed:
    """Our own certificate was renewed; it ends at `not_after`, wall seconds."""

    not_after: int


@frozen
class InviteUsed:
    """Somebody joined by an invite of ours."""

    name: str
    key: bytes


@frozen
class HealthChanged:
    """A condition that the user should know of appeared (`text`) or went ("")."""

    subject: str
    text: str


MeshEvent = (
    MemberJoined
    | MemberChanged
    | MemberGone
    | PeerUp
    | PeerDown
    | RoutesChanged
    | PolicyChanged
    | CertificateRenewed
    | InviteUsed
    | HealthChanged
)
