"""An HTTP proxy as a program: PORT [WORD...]; it ends by SIGTERM.

Words: `user=NAME:PASSWORD`, `deny=ENTRY`. Connections go from this host.
"""

import resource
import socket
import sys
from pathlib import Path

import trio

from meshnode.proxy.credentials import CredentialCheck
from meshnode.proxy.http_pac import pac_file
from meshnode.proxy.http_rules import RuleBook
from meshnode.proxy.http_server import HttpOptions, serve_http
from meshnode.proxy.outlets import Datagrams, Incoming, OutletError, Refusal
from meshnode.types import Endpoint, Target

ADDRESS = "127.0.0.1"
ENDLESS_BACKLOG = 2000


class Here:
    """An outlet by this host's sockets."""

    async def connect(self, target: Target) -> tuple[trio.SocketStream, Endpoint]:
        """Connect to *target*; raises `OutletError`."""
        try:
            stream = await trio.open_tcp_stream(target.host, target.port)
        except socket.gaierror:
            raise OutletError(Refusal.NO_SUCH_NAME) from None
        except OSError:
            raise OutletError(Refusal.REFUSED) from None
        return stream, Endpoint("0.0.0.0", 0)

    async def open_datagrams(self) -> Datagrams:
        """There are none."""
        raise OutletError(Refusal.UNSUPPORTED)

    async def listen(self, peer: Target) -> Incoming:
        """Nobody calls."""
        raise OutletError(Refusal.UNSUPPORTED)


def check_of(words: list[str]) -> CredentialCheck | None:
    """Return the users' check, if there are users."""
    users = [word.removeprefix("user=") for word in words if word.startswith("user=")]

    async def check(user: str, password: str) -> bool:
        await trio.lowlevel.checkpoint()
        return f"{user}:{password}" in users

    return check if users else None


async def main(port: str, *words: str) -> None:
    """Serve until killed."""
    denied = [word.removeprefix("deny=") for word in words if word.startswith("deny=")]
    book, check, outlet = RuleBook(deny=denied), check_of([*words]), Here()
    pac = pac_file(f"{ADDRESS}:{port}", [], ["home.mesh"])
    options = HttpOptions("e2e", pac=lambda: pac)

    async def serve(stream: trio.SocketStream) -> None:
        await serve_http(
            stream,
            outlet=outlet,
            credentials=check,
            rules=lambda: book,
            options=options,
        )

    await trio.serve_tcp(serve, int(port), host=ADDRESS, backlog=ENDLESS_BACKLOG)


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sys.path.insert(0, str(Path(__file__).parents[2]))
    trio.run(main, *sys.argv[1:])
