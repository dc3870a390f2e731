"""The chain of charters: from the network's id to its authorities of today."""

from typing import Final

from meshnode.codec.record_bytes import decode_charter
from meshnode.codec.records import Charter, Kind
from meshnode.mesh.envelopes import open_signed, parse_signed
from meshnode.mesh.grants import require_usable_space
from meshnode.mesh.identifiers import network_id_of
from meshnode.mesh.refusal import RecordRefused, Refusal

MAX_CHARTERS: Final = 16
"""Authorities change rarely; every member fetches the whole chain when it joins."""


class CharterChain:
    """The charters of the network with this id, version 1 first, none missing."""

    def __init__(self, network_id: bytes) -> None:
        self._network_id = network_id
        self._chain: list[tuple[bytes, Charter]] = []

    @property
    def latest(self) -> Charter:
        """The charter in force; raises `RecordRefused` if there is none yet."""
        if not self._chain:
            raise RecordRefused(Refusal.NO_CHARTER)
        return self._chain[-1][1]

    def envelopes(self) -> tuple[bytes, ...]:
        """Return the bytes of the charters, version 1 first."""
        return tuple([data for data, _ in self._chain])

    def add(self, data: bytes) -> bool:
        """Take the next charter; return False if it is in the chain already.

        Raises:
            RecordRefused: if it is not the successor of the charter in force. With
                `CHARTER_GAP` it may be, once those between have been added. Of two
                successors the first one seen stays (`CHARTER_FORK`): only an
                authority can have signed both.
        """
        if any(data == known for known, _ in self._chain):
            return False
        envelope = parse_signed(data, Kind.CHARTER)
        self._require_possible_signer(envelope.signer)
        charter = open_signed(self._network_id, envelope, decode_charter)
        if charter.network_id != self._network_id:
            raise RecordRefused(Refusal.WRONG_NETWORK)
        self._require_next_version(charter)
        if self._chain:
            self._require_successor(charter, envelope.signer)
        else:
            self._require_first(charter, envelope.signer)
        self._chain.append((data, charter))
        return True

    def _require_possible_signer(self, signer: bytes) -> None:
        # Before the body tells the version: anybody who may ever have signed one.
        if network_id_of(signer) == self._network_id:
            return
        if not self._chain:
            raise RecordRefused(Refusal.NOT_FOUNDER)
        if not any(signer in charter.authorities for _, charter in self._chain):
            raise RecordRefused(Refusal.NOT_AUTHORITY)

    def _require_next_version(self, charter: Charter) -> None:
        next_version = len(self._chain) + 1
        if charter.version < next_version:
            raise RecordRefused(Refusal.CHARTER_FORK)
        if charter.version > next_version:
            raise RecordRefused(Refusal.CHARTER_GAP)
        if charter.version > MAX_CHARTERS:
            raise RecordRefused(Refusal.TOO_MANY_CHARTERS)

    def _require_first(self, charter: Charter, signer: bytes) -> None:
        if charter.authorities[0] != signer:
            raise RecordRefused(Refusal.NOT_FOUNDER)
        require_usable_space(charter.cidr)

    def _require_successor(self, charter: Charter, signer: bytes) -> None:
        if signer not in self.latest.authorities:
            raise RecordRefused(Refusal.NOT_AUTHORITY)
        if charter.cidr != self.latest.cidr:
            raise RecordRefused(Refusal.ADDRESS_SPACE)
