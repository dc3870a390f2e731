"""Which ciphers are worth agreeing on with another meshnode.

Apart from the engines, because who chooses an engine for others needs no cryptography.
"""

from typing import Final

from meshnode.crypto.transport import can_use
from meshnode.types import Cipher

_FASTER: Final = (Cipher.AES_256_GCM,)
"""What both engines are faster with than with ChaCha20-Poly1305, the best first."""


def preferred_ciphers() -> tuple[Cipher, ...]:
    """Return the ciphers that are faster on this processor, the best first."""
    return tuple([cipher for cipher in _FASTER if can_use(cipher)])
