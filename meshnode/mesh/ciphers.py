"""Which cipher data to a member is sent under, by what the member said it takes.

Theory of operation. Every session begins with WireGuard's cipher. When one is
confirmed, each side that takes others says so in one `Accepts`, which names the
sessions it speaks of by the indices that their data carries. So it can come late, in
any order, or under another session: it never changes a session that it is not about,
and a member that restarted with other settings is sent nothing it did not ask for.
What is received needs no agreement, so there is no moment at which to switch. A frame
that is lost costs speed until the next session.
"""

from meshnode.codec.messages import Accepts
from meshnode.mesh.ports import Tunnels
from meshnode.types import Cipher


class Ciphers:
    """The ciphers that this node prefers to WireGuard's, the best first."""

    def __init__(self, tunnels: Tunnels, preferred: tuple[Cipher, ...]) -> None:
        self.preferred = preferred
        self._tunnels = tunnels

    def session_started(self, key: bytes, *, now: float) -> None:
        """A session with the member is usable: say what we take."""
        sessions = self._tunnels.sessions_of(key)
        if self.preferred and sessions:
            ciphers = tuple(map(int, self.preferred))
            self._tunnels.send(key, Accepts(ciphers, sessions), now=now)

    def receive(self, key: bytes, message: Accepts, *, now: float) -> None:
        """Send the member what we like best of what it takes."""
        cipher = next(
            (one for one in self.preferred if one in message.ciphers),
            Cipher.CHACHA20_POLY1305,
        )
        for session in message.sessions:
            self._tunnels.use_cipher(key, session, cipher, now=now)
