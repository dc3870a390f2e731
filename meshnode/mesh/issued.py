"""The ledger of an issuer: what it has issued, found by what must be unique."""

from collections.abc import Iterable

from meshnode.codec.record_bytes import decode_certificate, parse_envelope
from meshnode.codec.records import Certificate
from meshnode.errors import CodecError, ConfigError
from meshnode.mesh.grants import VALIDITY_SKEW
from meshnode.values import frozen


@frozen
class Issued:
    """A certificate of ours and the bytes of its envelope."""

    certificate: Certificate
    data: bytes

    def is_over(self, wall: int) -> bool:
        """Whether nobody takes it for valid any more, whatever the clock says."""
        return wall > self.certificate.not_after + VALIDITY_SKEW


class IssuedLedger:
    """All certificates of this issuer. *stored* is `StoredState.issued`.

    Raises:
        ConfigError: if a stored certificate is damaged.
    """

    def __init__(self, stored: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self._by_serial: dict[bytes, Issued] = {}
        self._by_key: dict[bytes, list[Issued]] = {}
        self._by_address: dict[bytes, list[Issued]] = {}
        self._by_name: dict[str, list[Issued]] = {}
        for serial, data in stored:
            try:
                certificate = decode_certificate(parse_envelope(data).body)
            except CodecError as error:
                raise ConfigError(f"a stored certificate is damaged: {error}") from None
            if certificate.serial != serial:
                raise ConfigError("a stored certificate is damaged: another serial")
            self.add(Issued(certificate, data))

    def __len__(self) -> int:
        return len(self._by_serial)

    def add(self, issued: Issued) -> None:
        """Enter a certificate; its serial is new."""
        certificate = issued.certificate
        self._by_serial[certificate.serial] = issued
        self._by_key.setdefault(certificate.wireguard_key, []).append(issued)
        self._by_address.setdefault(certificate.ipv4, []).append(issued)
        self._by_name.setdefault(certificate.name, []).append(issued)

    def with_serial(self, serial: bytes) -> Issued | None:
        """Return the certificate with this serial, valid or not."""
        return self._by_serial.get(serial)

    def of_key(self, key: bytes, *, wall: int) -> list[Issued]:
        """Return the certificates of a WireGuard key that are not over, in order."""
        return _not_over(self._by_key.get(key, []), wall)

    def with_address(self, ipv4: bytes, *, wall: int) -> list[Issued]:
        """Return the certificates for an address (4 bytes) that are not over."""
        return _not_over(self._by_address.get(ipv4, []), wall)

    def with_name(self, name: str, *, wall: int) -> list[Issued]:
        """Return the certificates for a name that are not over."""
        return _not_over(self._by_name.get(name, []), wall)


def _not_over(issued: list[Issued], wall: int) -> list[Issued]:
    return [one for one in issued if not one.is_over(wall)]
