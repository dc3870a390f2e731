"""A stand-in for the command `meshnode`, to test the laboratory without a mesh.

It takes the same words. A running node is a process that holds a TUN device with an
overlay address; the kernel answers ARP for that address on the LAN, which stands for
the tunnel. A prefix announced by one is routed by all others to its LAN address, and
never translated. Every call is written down for the test to read.
"""

import fcntl
import json
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

STATE = Path(os.environ["MESHNODE_STATE_DIR"])
SHARED = STATE.parents[1]
"""The laboratory's own directory: where nodes count themselves."""


def main(words: list[str]) -> int:
    """Do what the words say, as far as the laboratory can tell."""
    with (STATE / "calls").open("a") as calls:
        calls.write(json.dumps(words) + "\n")
    match words:
        case ["network", "create", name, "--cidr", cidr, *_]:
            become_member(name, cidr)
        case ["up", _]:
            start()
        case ["down", _]:
            pid = int((STATE / "pid").read_text())
            os.kill(pid, signal.SIGTERM)
        case ["invite", *_]:
            member = json.loads((STATE / "member").read_text())
            print(f"token:{member['network']}:{member['cidr']}")
        case ["join", token, *_]:
            _, name, cidr = token.split(":")
            become_member(name, cidr)
            start()
        case ["route", "add", prefix, *_]:
            with (SHARED / "routes").open("a") as routes:
                routes.write(f"{prefix} {first_link()['prefsrc']}\n")
        case _:
            print(f"unknown: {words}", file=sys.stderr)
            return 2
    return 0


def become_member(network: str, cidr: str) -> None:
    """Take the next address of the network."""
    with (SHARED / "members").open("a+") as members:
        members.write("x")
        members.flush()
        number = members.tell()
    base = cidr.partition("/")[0].rpartition(".")[0]
    member = {"network": network, "cidr": cidr, "address": f"{base}.{number}"}
    (STATE / "member").write_text(json.dumps(member))


def start() -> None:
    """Leave a process behind that is the node; return when it is ready."""
    member = json.loads((STATE / "member").read_text())
    ready, tell = os.pipe()
    if os.fork():
        os.close(tell)
        assert os.read(ready, 1)
        return
    os.setsid()
    silence = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(silence, descriptor)
    device = os.open("/dev/net/tun", os.O_RDWR)
    # TUNSETIFF; IFF_TUN without packet information.
    request = struct.pack("16sH22x", member["network"].encode(), 0x1001)
    fcntl.ioctl(device, 0x400454CA, request)
    (STATE / "pid").write_text(str(os.getpid()))
    ip(f"address add {member['address']}/32 dev {member['network']}")
    ip(f"link set dev {member['network']} up")
    ip(f"route replace {member['cidr']} dev {first_link()['dev']}")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    os.write(tell, b"!")
    while True:
        follow_routes()
        time.sleep(0.1)


def follow_routes() -> None:
    """Route what others announce to them."""
    own = first_link()["prefsrc"]
    routes = SHARED / "routes"
    for line in routes.read_text().splitlines() if routes.exists() else ():
        prefix, owner = line.split()
        if owner != own:
            ip(f"route replace {prefix} via {owner}")


def first_link() -> dict[str, str]:
    """Return the route to the LAN that stands for the internet: the first one made."""
    routes: list[dict[str, str]] = json.loads(ip("-j -4 route"))
    return min(
        (route for route in routes if "prefsrc" in route),
        key=lambda route: int(
            Path(f"/sys/class/net/{route['dev']}/ifindex").read_text()
        ),
    )


def ip(words: str) -> str:
    """Run `ip` in the namespace we are in."""
    command = ["ip", *words.split()]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
