"""Which ciphers are preferred."""

import pytest

from meshnode.dataplane import ciphers
from meshnode.types import Cipher


@pytest.mark.parametrize(
    ("has_aes", "preferred"), [(True, (Cipher.AES_256_GCM,)), (False, ())]
)
def test_a_cipher_is_preferred_where_the_processor_has_it(
    monkeypatch: pytest.MonkeyPatch, has_aes: bool, preferred: tuple[Cipher, ...]
) -> None:
    """Without it, WireGuard's alone is left."""
    monkeypatch.setattr(ciphers, "can_use", lambda cipher: has_aes)
    assert ciphers.preferred_ciphers() == preferred
