"""Rules of nftables that tell the flows which pass by the tunnel's side: pure.

Our outer packets carry a mark when they leave. So that what comes back bears it, too,
it is kept with the flow: a host that checks where packets come from (`rp_filter`) looks
for their way back, and would else find the tunnel.

Flows that others began with this host, by an interface that is not ours, are given the
mark as well, and so their answers leave as they came: who administers the host by SSH
is not cut off by its full tunnel. Only what is a beginning for sure counts, a TCP SYN
or an ICMP echo request: a late packet of a flow of ours must not make it one of
another's.
"""

_BEGINNINGS = ("tcp flags & (syn | ack | rst | fin) == syn", "icmp type echo-request")
_BEGINNINGS6 = ("icmpv6 type echo-request",)


def mark_chains(interface: str, fwmark: int) -> dict[str, tuple[str, list[str]]]:
    """Return chains by name: each its type with hook and priority, and its rules.

    Args:
        interface: the overlay's.
        fwmark: of our outer packets.
    """
    outside = f'iifname != {{ "{interface}", "lo" }}'
    mark = f"{fwmark:#x}"
    begun = [
        f"{outside} fib daddr type local ct state new {match} ct mark set {mark}"
        for match in (*_BEGINNINGS, *_BEGINNINGS6)
    ]
    return {
        "know": (
            "filter hook prerouting priority mangle - 5",
            [*begun, f"{outside} ct mark {mark} meta mark set {mark}"],
        ),
        "answer": (
            # The kind that has the packet routed again once its mark is another.
            "route hook output priority mangle",
            [f"ct direction reply ct mark {mark} meta mark set {mark}"],
        ),
        "note": (
            "filter hook postrouting priority mangle",
            [f"meta mark {mark} ct mark set {mark}"],
        ),
    }
