"""The ledger: found by serial, key, address and name, as long as it counts."""

import random

import pytest

from meshnode.codec.records import Certificate, Role
from meshnode.crypto.signing import SigningKey
from meshnode.errors import ConfigError
from meshnode.mesh.documents import create_certificate
from meshnode.mesh.grants import VALIDITY_SKEW
from meshnode.mesh.issued import Issued, IssuedLedger

WALL = 1_800_000_000


def make_issued(rng: random.Random, name: str, *, key: bytes = b"") -> Issued:
    """Return a certificate valid for 100 s, at 10.9.0.2."""
    certificate = Certificate(
        serial=rng.randbytes(16),
        name=name,
        wireguard_key=key or rng.randbytes(32),
        signing_key=rng.randbytes(32),
        ipv4=bytes([10, 9, 0, 2]),
        subnets=(),
        groups=(),
        roles=Role.NONE,
        gateways=(),
        not_before=WALL,
        not_after=WALL + 100,
        member_since=WALL,
    )
    signer = SigningKey(rng.randbytes(32))
    return Issued(certificate, create_certificate(signer, bytes(16), certificate))


def test_a_certificate_is_found_until_it_is_over(rng: random.Random) -> None:
    """By key, address and name until clocks cannot differ; by serial for ever."""
    ledger = IssuedLedger()
    issued = make_issued(rng, "alpha")
    ledger.add(issued)
    certificate = issued.certificate
    last = WALL + 100 + VALIDITY_SKEW
    for wall, found in ((WALL, [issued]), (last, [issued]), (last + 1, [])):
        assert ledger.of_key(certificate.wireguard_key, wall=wall) == found
        assert ledger.with_address(certificate.ipv4, wall=wall) == found
        assert ledger.with_name("alpha", wall=wall) == found
    assert ledger.with_serial(certificate.serial) == issued
    assert len(ledger) == 1


def test_what_is_not_there_is_not_found(rng: random.Random) -> None:
    """Other serials, keys, addresses and names have none."""
    ledger = IssuedLedger()
    ledger.add(make_issued(rng, "alpha"))
    assert ledger.with_serial(bytes(16)) is None
    assert ledger.of_key(bytes(32), wall=WALL) == []
    assert ledger.with_address(bytes(4), wall=WALL) == []
    assert ledger.with_name("beta", wall=WALL) == []


def test_a_stored_ledger_is_the_same(rng: random.Random) -> None:
    """Certificates come back from their bytes, in order."""
    key = rng.randbytes(32)
    entries = [make_issued(rng, name, key=key) for name in ("one", "two")]
    ledger = IssuedLedger([(one.certificate.serial, one.data) for one in entries])
    assert ledger.of_key(key, wall=WALL) == entries


def test_a_damaged_store_is_named(rng: random.Random) -> None:
    """Neither damaged bytes nor another serial are guessed at."""
    issued = make_issued(rng, "alpha")
    for stored in ((issued.certificate.serial, issued.data[:-1]), (b"", issued.data)):
        with pytest.raises(ConfigError, match="damaged"):
            IssuedLedger([stored])
