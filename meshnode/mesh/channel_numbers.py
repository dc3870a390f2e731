"""The numbers of the channels that this node receives under: random, each once."""

from meshnode.ports import Entropy


class ChannelNumbers:
    """Gives numbers, 1 to 2**32 - 1, that nobody can guess and none has twice."""

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy
        self._taken: set[int] = set()

    def draw(self) -> int:
        """Return a number that is not taken; it is from now on."""
        while True:
            number = int.from_bytes(self._entropy(4), "little")
            if number and number not in self._taken:
                self._taken.add(number)
                return number

    def free(self, number: int) -> None:
        """Let the number be drawn again, some time."""
        self._taken.discard(number)
