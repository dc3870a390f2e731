"""Verbs of the control socket about signed papers: shown, and put in force.

What an authority signs comes from outside: its key is never in a node's hands.
"""

import base64
import binascii
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from meshnode.codec.record_bytes import decode_charter, parse_envelope
from meshnode.codec.records import MAX_ENVELOPE_BYTES, Kind
from meshnode.crypto.keys import PublicKey
from meshnode.errors import ConfigError
from meshnode.host.clock import boottime
from meshnode.manage.papers import describe_certificate
from meshnode.manage.toml_reader import Table, text
from meshnode.mesh.delegation import standing_on
from meshnode.mesh.describe import find_member, name_of
from meshnode.mesh.refusal import RecordRefused
from meshnode.mesh.trust import VerifiedRevocation
from meshnode.node.mesh_admin import NoSuchMemberError
from meshnode.node.mesh_shell import MeshShell

Answered = Mapping[str, object]
Verb = Callable[[Table], Awaitable[Answered]]

_MAX_TEXT: Final = 4 * MAX_ENVELOPE_BYTES


class MeshPapers:
    """Shows certificates and charters, and takes what an authority signed."""

    def __init__(self, shell: MeshShell) -> None:
        self._shell = shell

    def verbs(self) -> dict[str, Verb]:
        """Return the functions that answer, by verb."""
        return {
            "cert show": self._show_certificate,
            "charter show": self._show_charter,
            "charter publish": self._publish_charter,
            "revocation publish": self._publish_revocation,
        }

    async def _show_certificate(self, args: Table) -> Answered:
        name = args.optional("member", text)
        args.finish()
        node = self._shell.node
        if name is None:
            # Ours, also while we are no member.
            name = str(PublicKey(node.key))
            if node.membership.by_key(node.key) is None:
                return self._describe_own()
        member = find_member(node, name)
        if member is None:
            raise NoSuchMemberError(f"no member {name!r}; see: meshnode peers")
        certificate = member.certificate
        return {
            **describe_certificate(certificate, member.issuer, node.trust.network_id),
            "gatewayNames": [name_of(node, key) for key in certificate.gateways],
        }

    def _describe_own(self) -> dict[str, Any]:
        node = self._shell.node
        issuer_data = node.own.envelopes[1]
        issuer = None
        if issuer_data:
            envelope = parse_envelope(issuer_data)
            issuer = node.trust.verify_issuer(envelope, wall=None)
        found = describe_certificate(
            node.own.certificate, issuer, node.trust.network_id
        )
        return {**found, "gatewayNames": []}

    async def _show_charter(self, args: Table) -> Answered:
        args.finish()
        node = self._shell.node
        # Of members those that count, or one that expired long ago would hold a key.
        records = [(int(Kind.MEMBER), member.data) for member in node.membership]
        records.extend(
            (int(Kind.REVOCATION), record.data)
            for record in node.records
            if isinstance(record, VerifiedRevocation)
        )
        return describe_charter(node.trust.chain(), records)

    async def _publish_charter(self, args: Table) -> Answered:
        data = args.get("charter", _octets, None)
        args.finish()
        node = self._shell.node
        try:
            node.publish_charter(data, now=boottime(), wall=time.time())
        except RecordRefused as refusal:
            raise ConfigError(f"the charter is refused: {refusal}") from None
        self._shell.drain()
        return {"version": node.trust.charter.version}

    async def _publish_revocation(self, args: Table) -> Answered:
        data = args.get("revocation", _octets, None)
        args.finish()
        try:
            self._shell.node.publish(data, now=boottime(), wall=time.time())
        except RecordRefused as refusal:
            raise ConfigError(f"the revocation is refused: {refusal}") from None
        self._shell.drain()
        return {}


def describe_charter(
    chain: tuple[bytes, ...], records: list[tuple[int, bytes]]
) -> dict[str, Any]:
    """Return what the last charter of *chain* says, and what stands on whom.

    *records* are kinds and bytes of member records and revocations.

    Raises:
        CodecError: if a charter is none.
    """
    charter = decode_charter(parse_envelope(chain[-1]).body)
    authorities = []
    for key in charter.authorities:
        issuers, revocations = standing_on(records, key)
        authorities.append(
            {
                "key": str(PublicKey(key)),
                "issuers": list(issuers),
                "revocations": revocations,
            }
        )
    return {
        "network": charter.name,
        "networkId": charter.network_id.hex(),
        "version": charter.version,
        "cidr": str(charter.cidr),
        "created": charter.created,
        "authorities": authorities,
        "chain": [base64.b64encode(data).decode() for data in chain],
    }


def _octets(value: object) -> bytes:
    if type(value) is not str or len(value) > _MAX_TEXT:
        raise ValueError("is not base64 of bounded length")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("is not base64") from None
