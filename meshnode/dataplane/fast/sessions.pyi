from meshnode.crypto.transport import Opener, Sealer
from meshnode.forwarding import Session
from meshnode.types import Cipher

class SessionMemory:
    def __init__(self, memory: memoryview, holder: int) -> None: ...

class SealSession:
    slot: int
    local_index: int
    secrets: Session
    is_rekey_reported: bool
    counter: int
    def __init__(
        self, slot: int, secrets: Session, memory: SessionMemory | None = None
    ) -> None: ...
    cipher: Cipher
    sealer: Sealer
    @property
    def remote_index(self) -> int: ...
    @property
    def expires_at(self) -> float: ...
    @property
    def rekey_at(self) -> float: ...
    def can_carry(self, packets: int, now: float) -> bool: ...
    def claim(self, packets: int) -> int: ...

class Window:
    def is_fresh(self, counter: int) -> bool: ...
    def accept(self, counter: int) -> bool: ...

class OpenSession:
    slot: int
    local_index: int
    secrets: Session
    is_confirmed: bool
    rekey_at: float
    cipher: Cipher
    aes_opener: Opener | None
    def __init__(
        self, slot: int, secrets: Session, memory: SessionMemory | None = None
    ) -> None: ...
    @property
    def opener(self) -> Opener: ...
    @property
    def window(self) -> Window: ...
    @property
    def expires_at(self) -> float: ...
