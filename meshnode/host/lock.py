"""The kill switch: a table of nftables that outlives every process of the node.

Nothing leaves the host but by the tunnel of the network and by loopback, except what

* carries our mark, which takes CAP_NET_ADMIN to set: our outer packets, and answers
  within flows that others began (`meshnode.host.flow_marks`);
* goes to a prefix that the administrator left outside;
* keeps the host on its link: DHCP from its privileged ports, and the neighbour and
  router messages of IPv6.

It looks at packets after routing, where local and forwarded ones both pass, so it
matters not how they came to leave by which interface. It is in no journal: what put it
there is the configuration, and what ends it is the configuration, too.
"""

from meshnode.host import nft
from meshnode.host.firewall import chain_lines, collapse, table_name
from meshnode.host.flow_marks import mark_chains
from meshnode.types import Prefix
from meshnode.values import frozen

_WORD = {4: "ip", 6: "ip6"}

_LINK = (
    "udp sport 68 udp dport 67 accept",
    "ip6 saddr fe80::/10 udp sport 546 udp dport 547 accept",
    # Neighbours may be asked at their global addresses; 255 is never forwarded.
    "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255 accept",
    "ip6 daddr { fe80::/10, ff00::/8 } icmpv6 type { nd-router-solicit, "
    "nd-router-advert, mld-listener-query, mld-listener-report, "
    "mld-listener-done, mld2-listener-report } accept",
)


@frozen
class Lock:
    """What the kill switch of a network lets out: its tunnel, its mark, and `lan`."""

    network: str
    interface: str
    fwmark: int
    lan: tuple[Prefix, ...] = ()


def lock_name(network: str) -> str:
    """Return the name of the table."""
    return f"{table_name(network)}_lock"


def lock_text(lock: Lock) -> str:
    """Return the commands for nft that put the table in place, whole: pure."""
    lines = []
    for name, (hook, rules) in mark_chains(lock.interface, lock.fwmark).items():
        lines += chain_lines(name, hook, rules)
    # Last of all, so that it sees where the packet really goes.
    lines += chain_lines("leave", "filter hook postrouting priority 300", _leave(lock))
    table = f"table {nft.FAMILY} {lock_name(lock.network)}"
    return "\n".join(
        [f"add {table}", f"delete {table}", f"{table} {{", *lines, "}", ""]
    )


def put_lock(lock: Lock) -> None:
    """Have the kill switch in force when this returns, in place of one before.

    The kernel exchanges the table in one step.

    Raises:
        HostError: if nft is missing (ENOENT) or refuses it.
        PrivilegeError: without CAP_NET_ADMIN.
    """
    nft.load(lock_text(lock))


def lift_lock(network: str) -> bool:
    """Take the kill switch away; False if there was none; raises as `put_lock`."""
    return nft.delete_table(lock_name(network))


def has_lock(network: str) -> bool:
    """Whether the kill switch of *network* is in force; raises as `put_lock`."""
    return nft.has_table(lock_name(network))


def _leave(lock: Lock) -> list[str]:
    rules = [
        f'oifname {{ "{lock.interface}", "lo" }} accept',
        f"meta mark {lock.fwmark:#x} accept",
    ]
    for version in (4, 6):
        lan = collapse(lock.lan, version)
        if lan:
            rules.append(f"{_WORD[version]} daddr {{ {', '.join(lan)} }} accept")
    return [*rules, *_LINK, "counter drop"]
