"""The data plane of a host alone: two workers, and a parent that tells them all once.

    python -m topology.bare ENGINE INTERFACE PORT COMMANDS

COMMANDS is a file of `forwarding.Command` values, each encoded, in hexadecimal, a line;
both workers obey all of them. The process id of each process is printed behind its
name. The parent, "control", then throws away what the workers report, as a control
process that has nothing to do.
"""

import mmap
import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from meshnode.codec.forwarding import MAX_MESSAGE_BYTES
from meshnode.dataplane.engines import open_engine
from meshnode.dataplane.interface import WorkerResources
from meshnode.dataplane.traffic import TrafficTable, table_bytes
from meshnode.dataplane.worker import run_egress, run_ingress
from meshnode.host.tun import agreed_offloads, create_tun, open_inlet, wanted_offload
from meshnode.host.udp import open_udp_pair
from meshnode.offloads import UNFORCED
from topology.hosts import Host
from topology.processes import Process

GENERATION = 1
"""What a `Reset` of the workers must say."""

_QUEUES = 8


def start(
    host: Host, engine: str, interface: str, port: int, commands: Path
) -> Process:
    """Start the program in *host*."""
    words = (engine, interface, str(port), str(commands))
    return host.start(
        [sys.executable, "-m", __name__, *words],
        environment={"PYTHONPATH": str(Path(__file__).parents[1])},
    )


def main(engine: str, interface: str, port: str, path: str) -> int:
    """Run until a worker ends, or SIGTERM comes."""
    commands = [bytes.fromhex(line) for line in Path(path).read_text().splitlines()]
    tun = create_tun(interface, queues=_QUEUES, wanted=wanted_offload(UNFORCED))
    offloads = agreed_offloads(UNFORCED, tun.offload)
    inlet = open_inlet(tun)
    sockets = open_udp_pair(int(port)).sockets()
    traffic = TrafficTable(mmap.mmap(-1, table_bytes(1)))
    moves, moved = _link()
    handshakes, passed_up = _link()
    factory = open_engine(engine)

    def egress(program: socket.socket) -> None:
        made = WorkerResources(GENERATION, tun.fds, sockets, traffic, offloads=offloads)
        run_egress(factory.egress(made), program, roaming=moved)

    def ingress(program: socket.socket) -> None:
        made = WorkerResources(
            GENERATION, (inlet,), sockets, traffic, (moves,), offloads
        )
        run_ingress(factory.ingress(made), program, passed_up)

    programs = _fork({"egress": egress, "ingress": ingress})
    for program in programs:
        for command in commands:
            program.send(command)
    print("control", os.getpid(), flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        while True:
            for link in select.select([*programs, handshakes], [], [])[0]:
                if not link.recv(MAX_MESSAGE_BYTES):
                    return 1
    finally:
        for program in programs:
            program.close()
        for _ in programs:
            os.wait()


def _fork(workers: dict[str, Callable[[socket.socket], object]]) -> list[socket.socket]:
    """Start each worker with the other end of one of the links that are returned."""
    links: list[socket.socket] = []
    for name, work in workers.items():
        ours, theirs = _link()
        pid = os.fork()
        if not pid:
            # A link ends when all have let go of its other end.
            for link in (ours, *links):
                link.close()
            work(theirs)
            os._exit(0)
        theirs.close()
        links.append(ours)
        print(name, pid, flush=True)
    return links


def _link() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
