"""What passes on a link, by `tcpdump`: which messages of the UDP port, and whose.

capture = Capture(port, directory)
...
capture.end()
capture.kinds(anna.port.v4, bert.port.v4)   # -> [1, 4, 4, 8, ...]
"""

import struct
from pathlib import Path

from topology.hosts import Port, wait_until

LISTEN_PORT = 51820


class Capture:
    """The datagrams of a node's UDP port on one link, from its making to `end`."""

    def __init__(self, port: Port, directory: Path) -> None:
        self._file = directory / f"{port.host.name}.pcap"
        self._process = port.host.start(
            f"tcpdump -n -U --immediate-mode -Z root -i {port.interface} "
            f"-w {self._file} ip and udp port {LISTEN_PORT}"
        )
        wait_until(lambda: "listening on" in self._process.output, "a capture")

    def end(self) -> None:
        """Take no more."""
        self._process.stop()

    def kinds(self, source: str, destination: str) -> list[int]:
        """Return the types of the messages from one address to another, in order."""
        data, offset = self._file.read_bytes(), 24
        found = []
        while offset < len(data):
            (size,) = struct.unpack_from("=I", data, offset + 8)
            frame = data[offset + 16 :][:size]
            # Ethernet, IPv4 without options and UDP headers: 14, 20 and 8 bytes.
            ends = tuple(".".join(map(str, frame[at : at + 4])) for at in (26, 30))
            if ends == (source, destination):
                found.append(int.from_bytes(frame[42:46], "little"))
            offset += 16 + size
        return found
