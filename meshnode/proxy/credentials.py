"""How a listener asks whether a user name and a password belong together."""

from typing import Protocol


class CredentialCheck(Protocol):
    """Says whether *password* is that of *user*, in a time that tells nothing."""

    async def __call__(self, user: str, password: str) -> bool:
        """Return True if they belong together."""
