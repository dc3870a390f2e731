"""A mesh VPN node: WireGuard on the wire, a pure core, worker processes.

The packages form layers, lowest first; `tests/test_layers.py` holds the rules:

`errors types values deadlines ports forwarding hostplan`
    Leaf values and Protocols.
`crypto` → `codec` → `wireguard`
    Pure: no clock, socket or randomness of their own.
`dataplane`, `host`
    Packets between the TUN device and the UDP port; the operating system.
`manage`, `node`, `cli`
    Userspace API and keys; the processes; the commands.
`simulation`
    The seeded world in virtual time, for tests and tools.

`docs/design.md` tells how the pieces work together.
"""

__version__ = "0.1.0"
