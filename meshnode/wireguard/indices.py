"""The 32-bit local indices by which peers address our handshakes and key pairs.

They are random, so that they tell nothing of how many peers there are, and unique
over the whole device. Indices chosen by the other side are never keys here: two
peers may choose the same, or one of ours.
"""

from typing import Final, Generic, TypeVar

from meshnode.ports import Entropy

Owner = TypeVar("Owner")

# With every index of 65536 peers in use, one draw in 16384 collides; this many in a
# row mean that the source of randomness is broken.
_MAX_DRAWS: Final = 32


class IndexTable(Generic[Owner]):
    """What each local index in use stands for."""

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy
        self._owners: dict[int, Owner] = {}

    def __len__(self) -> int:
        return len(self._owners)

    def allocate(self, owner: Owner) -> int:
        """Return a new index, random and not zero, that stands for *owner*.

        Raises:
            RuntimeError: if the entropy keeps repeating itself.
        """
        for _ in range(_MAX_DRAWS):
            index = int.from_bytes(self._entropy(4), "little")
            if index and index not in self._owners:
                self._owners[index] = owner
                return index
        raise RuntimeError("the source of entropy repeats itself")

    def lookup(self, index: int) -> Owner | None:
        """Return what *index* stands for, or None; any integer may be asked."""
        return self._owners.get(index)

    def replace(self, index: int, owner: Owner) -> None:
        """Let *index* stand for *owner* from now on: a handshake became a key pair.

        Raises:
            KeyError: if it is not in use.
        """
        if index not in self._owners:
            raise KeyError(index)
        self._owners[index] = owner

    def reserve(self, index: int, owner: Owner) -> None:
        """Take a given index, of a session that outlived its control process.

        Raises:
            ValueError: if it is in use, or not 1 to 2^32-1.
        """
        if not 0 < index < 2**32 or index in self._owners:
            raise ValueError(f"index {index:#010x} cannot be reserved")
        self._owners[index] = owner

    def release(self, index: int) -> None:
        """Free *index*; nothing happens if it is not in use."""
        self._owners.pop(index, None)
