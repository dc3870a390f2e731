"""A router that forwards ports, pure: what RFC 6886 and RFC 6887 say of servers.

Written from the RFCs' packet diagrams with offsets of its own, so that it does not
share a mistake with `meshnode.codec`.
"""

import ipaddress
from dataclasses import dataclass, field

NOT_AUTHORIZED = 2


def u16(data: bytes, at: int) -> int:
    """Read a big-endian 16-bit number."""
    return int.from_bytes(data[at : at + 2], "big")


def u32(data: bytes, at: int) -> int:
    """Read a big-endian 32-bit number."""
    return int.from_bytes(data[at : at + 4], "big")


def pcp_answer(
    request: bytes,
    *,
    epoch: int,
    lifetime: int,
    result: int = 0,
    external: tuple[str, int] = ("203.0.113.1", 4000),
) -> bytes:
    """Return the answer to a MAP request of PCP."""
    address = ipaddress.ip_address(external[0])
    packed = address.packed
    if address.version == 4:
        packed = b"\0" * 10 + b"\xff\xff" + packed
    head = bytes([2, 0x81, 0, result]) + lifetime.to_bytes(4, "big")
    head += epoch.to_bytes(4, "big") + bytes(12)
    port = external[1].to_bytes(2, "big")
    return head + request[24:42] + port + packed


def pcp_announcement(epoch: int) -> bytes:
    """Return what a router tells all hosts after it began anew."""
    return bytes([2, 0x80, 0, 0]) + bytes(4) + epoch.to_bytes(4, "big") + bytes(12)


def natpmp_address(epoch: int, host: str, result: int = 0) -> bytes:
    """Return the answer to NAT-PMP's question for the outside address."""
    head = bytes([0, 128]) + result.to_bytes(2, "big") + epoch.to_bytes(4, "big")
    return head + ipaddress.IPv4Address(host).packed


def natpmp_mapping(
    epoch: int, internal: int, external: int, lifetime: int, result: int = 0
) -> bytes:
    """Return the answer to NAT-PMP's request for a mapping."""
    head = bytes([0, 129]) + result.to_bytes(2, "big") + epoch.to_bytes(4, "big")
    ports = internal.to_bytes(2, "big") + external.to_bytes(2, "big")
    return head + ports + lifetime.to_bytes(4, "big")


@dataclass
class FakeRouter:
    """Forwards UDP ports to one client; `speaks` are the protocols it knows.

    It may grant less than it is asked for (`longest`), another port (`shift`), or
    refuse with `refusal`. `mappings` has until when each outside port is forwarded.
    """

    speaks: tuple[str, ...] = ("pcp", "nat-pmp")
    host: str = "203.0.113.1"
    longest: int = 86400
    shift: int = 0
    refusal: int = 0
    refuse_for: int = 60
    began_at: float = 0.0
    mappings: dict[int, tuple[int, bytes, float]] = field(default_factory=dict)
    requests: list[bytes] = field(default_factory=list)

    def epoch(self, now: float) -> int:
        """Return the seconds since it began."""
        return int(now - self.began_at)

    def restart(self, now: float) -> None:
        """Forget every mapping."""
        self.began_at = now
        self.mappings.clear()

    def receive(self, data: bytes, now: float) -> list[bytes]:
        """Take a request; return the answers."""
        self.requests.append(data)
        for port, (_, _, until) in list(self.mappings.items()):
            if now >= until:
                del self.mappings[port]
        if data[0] == 2:
            return self._pcp(data, now)
        return self._natpmp(data, now)

    def _pcp(self, data: bytes, now: float) -> list[bytes]:
        epoch = self.epoch(now)
        if "pcp" not in self.speaks:
            if "nat-pmp" not in self.speaks:
                return []
            return [bytes([0, 0x80 | data[1]]) + b"\0\1" + epoch.to_bytes(4, "big")]
        assert len(data) == 60
        assert data[1] == 1
        assert data[36] == 17
        if self.refusal:
            wait = self.refuse_for
            return [pcp_answer(data, epoch=epoch, lifetime=wait, result=self.refusal)]
        nonce, internal = data[24:36], u16(data, 40)
        if self._is_others(internal, nonce):
            wait = self.refuse_for
            return [pcp_answer(data, epoch=epoch, lifetime=wait, result=NOT_AUTHORIZED)]
        external, lifetime = self._grant(
            internal, nonce, u16(data, 42), u32(data, 4), now
        )
        host = (
            self.host
            if data[8:18] == bytes(10)
            else str(ipaddress.IPv6Address(data[8:24]))
        )
        return [
            pcp_answer(data, epoch=epoch, lifetime=lifetime, external=(host, external))
        ]

    def _natpmp(self, data: bytes, now: float) -> list[bytes]:
        if "nat-pmp" not in self.speaks:
            return []
        epoch = self.epoch(now)
        if data == b"\0\0":
            return [natpmp_address(epoch, self.host)]
        assert len(data) == 12
        assert data[1] == 1
        internal, wish, lifetime = u16(data, 4), u16(data, 6), u32(data, 8)
        if self.refusal:
            return [natpmp_mapping(epoch, internal, 0, 0, self.refusal)]
        if self._is_others(internal, b""):
            return [natpmp_mapping(epoch, internal, 0, 0, NOT_AUTHORIZED)]
        external, granted = self._grant(internal, b"", wish, lifetime, now)
        return [natpmp_mapping(epoch, internal, external, granted)]

    def _is_others(self, internal: int, nonce: bytes) -> bool:
        """Whether the mapping of this port was made with another nonce, or by none."""
        owners = [
            owner for known, owner, _ in self.mappings.values() if known == internal
        ]
        return bool(owners) and owners != [nonce]

    def _grant(
        self, internal: int, nonce: bytes, wish: int, lifetime: int, now: float
    ) -> tuple[int, int]:
        for port, (known, _, _) in list(self.mappings.items()):
            if known == internal:
                if lifetime == 0:
                    del self.mappings[port]
                    return 0, 0
                wish = port
        if lifetime == 0:
            return 0, 0
        external = wish if wish in self.mappings else (wish or internal) + self.shift
        granted = min(lifetime, self.longest)
        self.mappings[external] = (internal, nonce, now + granted)
        return external, granted
