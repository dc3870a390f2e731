"""One-way black holes: what one member of a LAN sends, another never sees.

    begin(receiver, "lan", ["192.0.2.1"])    # all of it
    swallow(receiver, "lan", 1300)           # what is larger, whoever sent it

They are rules of the receiver's namespace, before anything there sees a packet. All
that is known of them is in the kernel, so any process can begin and end them.
"""

import ipaddress
from collections.abc import Iterable

from topology.hosts import Host

_TABLE = "netdev blackholes"


def begin(receiver: Host, lan: str, sources: Iterable[str]) -> None:
    """Lose what comes to *receiver* over *lan* from these prefixes or addresses."""
    lines = [_made(lan)]
    for name, prefix in _elements(lan, sources):
        lines.append(f"add element {_TABLE} {name} {{ {prefix} }}")
    receiver.nft("\n".join(lines) + "\n")


def end(receiver: Host, lan: str, sources: Iterable[str]) -> None:
    """Undo `begin`; nothing happens where it was not done."""
    lines = [_made(lan)]
    for name, prefix in _elements(lan, sources):
        # Added first: what is not there cannot be deleted.
        lines.append(f"add element {_TABLE} {name} {{ {prefix} }}")
        lines.append(f"delete element {_TABLE} {name} {{ {prefix} }}")
    receiver.nft("\n".join(lines) + "\n")


def swallow(receiver: Host, lan: str, largest: int) -> None:
    """Lose what comes to *receiver* over *lan* in packets of more bytes than *largest*.

    These are of IP, header and all. Nobody is told, as where ICMP is filtered. It
    replaces what an earlier call said; 0 ends it.
    """
    chain = f"sizes_{_chain(lan)}"
    lines = [
        f"table {_TABLE} {{",
        f'  chain {chain} {{ type filter hook ingress device "{lan}" priority 1; }}',
        "}",
        f"flush chain {_TABLE} {chain}",
    ]
    if largest:
        lines.append(f"add rule {_TABLE} {chain} ip length > {largest} drop")
        # This one counts what follows the header.
        lines.append(f"add rule {_TABLE} {chain} ip6 length > {largest - 40} drop")
    receiver.nft("\n".join(lines) + "\n")


def send_singly(host: Host, lan: str) -> None:
    """Let each datagram of *host* be a packet of its own on its cable to *lan*.

    Else many travel as one, which is as long as all of them to any rule.
    """
    host.ip(f"link set dev {lan} gso_max_segs 1")


def _elements(lan: str, sources: Iterable[str]) -> Iterable[tuple[str, str]]:
    for source in sources:
        prefix = ipaddress.ip_network(source)
        yield f"{_chain(lan)}_{prefix.version}", str(prefix)


def _chain(lan: str) -> str:
    # A hyphen is a minus in the rules' language, and no name begins with a digit.
    return f"lan_{lan.replace('-', '_')}"


def _made(lan: str) -> str:
    """Return the rules that hold an interface's sets, without adding to them twice."""
    chain = _chain(lan)
    return f"""
        table {_TABLE} {{
          set {chain}_4 {{ type ipv4_addr; flags interval; }}
          set {chain}_6 {{ type ipv6_addr; flags interval; }}
          chain {chain} {{ type filter hook ingress device "{lan}" priority 0; }}
        }}
        flush chain {_TABLE} {chain}
        add rule {_TABLE} {chain} ip saddr @{chain}_4 drop
        add rule {_TABLE} {chain} ip6 saddr @{chain}_6 drop
        """
