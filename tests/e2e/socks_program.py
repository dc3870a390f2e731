"""A SOCKS server as a program: PLACE [WORD...], where PLACE is HOST:PORT or a path.

Words: `user=NAME:PASSWORD`; `via=HOST:PORT`, another SOCKS5 proxy; `exit=ADDRESS`, the
rules of an exit that has this address; `name=NAME=ADDRESS`, a name of the mesh.
"""

import ipaddress
import resource
import sys
from functools import partial

import trio

from meshnode.codec.proxies import Credentials
from meshnode.proxy.credentials import CredentialCheck
from meshnode.proxy.direct_outlet import Direct
from meshnode.proxy.outlets import Outlet
from meshnode.proxy.reach import members_may_reach
from meshnode.proxy.socks_outlet import ViaSocks
from meshnode.proxy.socks_server import serve_socks
from meshnode.types import Endpoint, Target


def split(place: str) -> Target:
    """Read HOST:PORT, the host of IPv6 in brackets."""
    host, _, port = place.rpartition(":")
    return Target(host.strip("[]"), int(port))


def outlet_of(words: dict[str, str]) -> Outlet:
    """Return where connections go by these words."""
    if "via" in words:
        return ViaSocks([split(words["via"])], Credentials())
    if "exit" in words:
        own = {ipaddress.ip_address(words["exit"])}
        return Direct(permits=partial(members_may_reach, own=own))
    name, _, address = words.get("name", "").partition("=")
    return Direct(resolve=lambda asked: [address] if asked == name else [])


def check_of(words: dict[str, str]) -> CredentialCheck | None:
    """Return the users' check, if there are users."""
    if "user" not in words:
        return None

    async def check(user: str, password: str) -> bool:
        return f"{user}:{password}" == words["user"]

    return check


async def main(place: str, *arguments: str) -> None:
    """Serve for ever."""
    words = dict(one.split("=", 1) for one in arguments)
    if place.startswith("/"):
        listener = trio.socket.socket(trio.socket.AF_UNIX)
        await listener.bind(place)
    else:
        to = split(place)
        where = Endpoint(to.host, to.port)
        family = trio.socket.AF_INET if where.version == 4 else trio.socket.AF_INET6
        listener = trio.socket.socket(family)
        listener.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_REUSEADDR, 1)
        await listener.bind((to.host, to.port))
    listener.listen(1024)
    outlet, check = outlet_of(words), check_of(words)

    async def serve(stream: trio.SocketStream) -> None:
        await serve_socks(stream, outlet=outlet, credentials=check)

    await trio.serve_listeners(serve, [trio.SocketListener(listener)])


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    trio.run(main, *sys.argv[1:])
