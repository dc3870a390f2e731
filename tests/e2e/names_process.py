"""The resolver of one node as a process of its own, for the end-to-end tests.

    python -m tests.e2e.names_process TABLE-FILE [UPSTREAM...]

It stands in the node's namespace, where the node's overlay addresses are, and reads
the table again whenever the file is another.
"""

import sys
from pathlib import Path

import trio

from meshnode.names.dns_server import serve_names
from meshnode.names.forwarder import PORT, Forwarder
from meshnode.names.table import NameTable, parse_table
from meshnode.types import Endpoint


class TableFile:
    """The table in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._data = b""
        self._table: NameTable | None = None

    def __call__(self) -> NameTable:
        """Return the table as it is now."""
        data = self._path.read_bytes()
        if self._table is None or data != self._data:
            self._data, self._table = data, parse_table(data)
        return self._table


async def main(path: Path, upstreams: list[Endpoint]) -> None:
    """Serve until the process is killed."""
    table = TableFile(path)
    ours = table().member(table().own)
    assert ours is not None
    sockets, listeners = [], []
    for packed in (ours.ipv4, ours.ipv6):
        family = trio.socket.AF_INET if len(packed) == 4 else trio.socket.AF_INET6
        host = trio.socket.inet_ntop(family, packed)
        udp = trio.socket.socket(family, trio.socket.SOCK_DGRAM)
        await udp.bind((host, PORT))
        sockets.append(udp)
        listeners += await trio.open_tcp_listeners(PORT, host=host)
    print("serving", flush=True)
    await serve_names(
        sockets, listeners, table=table, forwarder=Forwarder(lambda: upstreams)
    )


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), [Endpoint(one, PORT) for one in sys.argv[2:]])
