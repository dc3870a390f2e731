"""Who may use a proxy: the question that its servers ask."""

from typing import Protocol


class CredentialCheck(Protocol):
    """Knows the users of a proxy."""

    async def __call__(self, user: str, password: str) -> bool:
        """Return whether *user* may use the proxy, and this is the password."""
