"""Sessions of the compiled ways with what the reference needs for a second cipher.

The compiled ways know WireGuard's cipher only; what has another type goes the
reference's way, in both directions.
"""

from meshnode.crypto.transport import Opener, Sealer
from meshnode.dataplane.fast.sessions import OpenSession, SealSession
from meshnode.forwarding import Session
from meshnode.types import Cipher


class CipherSealSession(SealSession):
    """A session to send under, by either cipher."""

    __slots__ = ("cipher", "sealer")

    sealer: Sealer

    def __init__(self, slot: int, secrets: Session) -> None:
        self.cipher = Cipher.CHACHA20_POLY1305
        self.sealer = Sealer(secrets.send_key)


class CipherOpenSession(OpenSession):
    """A session to receive under, by either cipher."""

    __slots__ = ("aes_opener", "cipher")

    def __init__(self, slot: int, secrets: Session) -> None:
        self.cipher = Cipher.CHACHA20_POLY1305
        self.aes_opener: Opener | None = None
