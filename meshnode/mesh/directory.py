"""What issuing, renewal and rendezvous ask about the members of the network."""

from collections.abc import Iterable

from meshnode.codec.records import Issuer, Kind, Role
from meshnode.mesh.membership import MemberChange, Membership
from meshnode.mesh.prefixes import host_prefix
from meshnode.mesh.record_set import RecordSet
from meshnode.mesh.trust import Trust, VerifiedMember, record_id


class Directory:
    """The members that count now, as this node knows them; keys are WireGuard's.

    Answers by *membership* and *records*; `follow` must be told all changes.

    *issuing_key* is our own issuing key, b"" for none: its revocations count here
    beside those of the authorities.
    """

    def __init__(
        self,
        membership: Membership,
        records: RecordSet,
        trust: Trust,
        *,
        issuing_key: bytes = b"",
    ) -> None:
        self._membership = membership
        self._records = records
        self._trust = trust
        self._issuing_key = issuing_key
        self._issuers: dict[Issuer, int] = {}  # with how many members each has
        self._by_role: dict[Role, dict[bytes, None]] = {role: {} for role in Role}

    def follow(self, changes: Iterable[MemberChange]) -> None:
        """Note who has which role after these steps of the membership."""
        for change in changes:
            key = change.member.key
            self._count(change.before, -1)
            self._count(change.after, +1)
            now = change.after.certificate.roles if change.after else Role.NONE
            for role, keys in self._by_role.items():
                if role in now:
                    keys[key] = None
                else:
                    keys.pop(key, None)

    def _count(self, member: VerifiedMember | None, step: int) -> None:
        if member is not None and member.issuer is not None:
            count = self._issuers.get(member.issuer, 0) + step
            self._issuers[member.issuer] = count
            if count == 0:
                del self._issuers[member.issuer]

    def member(self, key: bytes) -> VerifiedMember | None:
        """Return the member with this key if it counts."""
        return self._membership.by_key(key)

    def key_with_name(self, name: str) -> bytes | None:
        """Return who has this name."""
        member = self._membership.by_name(name)
        return member.key if member else None

    def key_with_address(self, ipv4: bytes) -> bytes | None:
        """Return who has this overlay address (4 bytes)."""
        member = self._membership.by_address(host_prefix(ipv4))
        return member.key if member else None

    def keys_with_role(self, role: Role) -> Iterable[bytes]:
        """Return the keys of all members with this role, our own too."""
        return tuple(self._by_role[role])

    def issuers(self) -> Iterable[Issuer]:
        """Return the issuers of all members, each once."""
        return tuple(self._issuers)

    def is_revoked(self, subject: bytes) -> bool:
        """Whether an authority or our own issuing key revoked this key."""
        signers = (*self._trust.charter.authorities, self._issuing_key)
        return any(
            self._records.get(record_id(Kind.REVOCATION, subject + signer)) is not None
            for signer in signers
        )
