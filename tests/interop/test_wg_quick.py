"""`wg-quick` sets meshnode's interface up and takes it down again.

wg-quick turns to a userspace implementation only if the kernel has no WireGuard. To
be the same on every machine, the tests hide the kernel's from it.
"""

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from topology.hosts import Host, Lab, Port, wait_until
from topology.tunnels import (
    LISTEN_PORT,
    TUNNEL_MTU,
    Keys,
    WireGuardDevice,
    meshnode,
    wireguard_go,
)

pytestmark = pytest.mark.root

# `ip` as on a kernel without WireGuard.
_IP_SHIM = """#!/bin/sh
case "$*" in
*"type wireguard"*) echo "Error: Unknown device type." >&2; exit 2 ;;
esac
exec {ip} "$@"
"""


@dataclass(frozen=True, slots=True)
class Quick:
    """wg-quick in a host, with its configuration file."""

    host: Host
    file: Path
    implementation: str

    def run(self, verb: str) -> str:
        """Run `wg-quick VERB FILE` and return what it printed."""
        shims = self.file.parent / "shims"
        hidden = f"mount -t tmpfs none /sys/module && exec {shims}/wg-quick {verb} "
        result = self.host.run(
            ["unshare", "--mount", "sh", "-c", hidden + str(self.file)],
            environment={
                "WG_QUICK_USERSPACE_IMPLEMENTATION": self.implementation,
                **meshnode().environment(self.host),
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            },
        )
        return result.stdout + result.stderr


@pytest.fixture(params=["meshnode-wg", "wireguard-go"])
def implementation(request: pytest.FixtureRequest) -> str:
    """Ours, and wireguard-go to prove the test itself."""
    name: str = request.param
    return name


@pytest.mark.parametrize(
    "allowed_ips",
    ["10.55.0.0/24, fd55::/64", "0.0.0.0/0, ::/0"],
    ids=["split-tunnel", "full-tunnel"],
)
def test_wg_quick_up_and_down(lab: Lab, implementation: str, allowed_ips: str) -> None:
    """Traffic passes after `up`; after `down` the host is as it was before."""
    left, right = lab.connect(lab.host("left"), lab.host("right"))
    server, keys = _server(left, right)
    quick = _quick(lab, left.host, implementation)
    quick.file.write_text(
        f"[Interface]\nPrivateKey = {keys.private}\n"
        "Address = 192.168.241.1/24, fd00::1/64\n"
        f"[Peer]\nPublicKey = {server.public_key}\nAllowedIPs = {allowed_ips}\n"
        f"Endpoint = {right.v4}:{LISTEN_PORT}\n"
    )
    before = left.host.state()
    output = quick.run("up")
    assert f"mtu {TUNNEL_MTU}" in output
    for address in ("10.55.0.1", "fd55::1"):
        left.host.run(f"ping -c 3 -i 0.2 -W 5 {address}")
    assert server.transfer(keys.public).received >= 148 + 6 * 128
    quick.run("down")
    wait_until(lambda: not left.host.processes(), "the implementation ends")
    assert left.host.state().changes_since(before) == []


def _server(left: Port, right: Port) -> tuple[WireGuardDevice, Keys]:
    """Start a peer on the right with addresses that only the tunnel leads to."""
    keys = Keys.generate()
    server = wireguard_go().start(right.host)
    server.set(f"peer {keys.public} allowed-ips 192.168.241.1/32,fd00::1/128")
    server.bring_up("192.168.241.2/24", "fd00::2/64")
    right.host.add_address("lo", "10.55.0.1/32")
    right.host.add_address("lo", "fd55::1/128")
    return server, keys


def _quick(lab: Lab, host: Host, implementation: str) -> Quick:
    shims = lab.directory / "shims"
    shims.mkdir()
    # wg-quick looks for programs beside itself first.
    shutil.copy(_installed("wg-quick"), shims / "wg-quick")
    (shims / "ip").write_text(_IP_SHIM.format(ip=_installed("ip")))
    (shims / "ip").chmod(0o755)
    return Quick(host, lab.directory / f"{lab.interface_name()}.conf", implementation)


def _installed(program: str) -> str:
    path = shutil.which(program)
    assert path, f"{program} is not installed"
    return path
