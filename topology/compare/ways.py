"""The ways that are compared: how each is set up, and what an application is told.

All of them carry the same: a client on the left host reaches servers at the overlay
address of the right one. The proxies run on the left host, and the tunnel is under all.
"""

import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version as package_version
from pathlib import Path

from topology.hosts import Host, wait_until
from topology.members import NETWORK
from topology.mesh import environment, installed_command
from topology.processes import LabError, run

SOCKS_PORT = 1080
HTTP_PORT = 3128
MICROSOCKS_PORT = 1081
DANTE_PORT = 1082
TINYPROXY_PORT = 8888

_TINYPROXY = """
Port {port}
Listen 127.0.0.1
Allow 127.0.0.1
MaxClients 1000
Timeout 60
LogLevel Error
LogFile "{log}"
"""

_DANTE = """
logoutput: {log}
internal: 127.0.0.1 port = {port}
external: {interface}
clientmethod: none
socksmethod: none
user.privileged: root
user.unprivileged: nobody
client pass {{ from: 0/0 to: 0/0 }}
socks pass {{ from: 0/0 to: 0/0 }}
"""


@dataclass(frozen=True, slots=True)
class Way:
    """One way: its name and version, and how a client takes it.

    `curl` are the options that curl needs for it, `told` is what an application must be
    told, in words. `socks` is the port of a proxy that carries datagrams, if it is one,
    and `is_tunnel` says that packets go by themselves.
    """

    name: str
    version: str
    told: str
    start: Callable[[Host], None]
    port: int = 0
    curl: Sequence[str] = ()
    socks: int = 0
    is_tunnel: bool = False


def all_ways() -> dict[str, Way]:
    """Return the ways, by the name that the command line calls them.

    Raises:
        LabError: if a program is not installed.
    """
    ours = package_version("meshnode")
    socks = f"socks5h://127.0.0.1:{SOCKS_PORT}"
    return {
        "tun": Way("TUN", ours, "nothing", lambda host: None, is_tunnel=True),
        "socks": Way(
            "SOCKS",
            ours,
            f"a SOCKS proxy ({socks}), and it must know SOCKS",
            lambda host: _meshnode(host, SOCKS_PORT, "socks"),
            SOCKS_PORT,
            ("--socks5-hostname", f"127.0.0.1:{SOCKS_PORT}"),
            SOCKS_PORT,
        ),
        "http": Way(
            "HTTP",
            ours,
            f"an HTTP proxy (http_proxy=http://127.0.0.1:{HTTP_PORT})",
            lambda host: _meshnode(host, HTTP_PORT, "http"),
            HTTP_PORT,
            ("--proxy", f"http://127.0.0.1:{HTTP_PORT}"),
        ),
        "microsocks": Way(
            "microsocks",
            _debian("microsocks"),
            "as SOCKS",
            _microsocks,
            MICROSOCKS_PORT,
            ("--socks5-hostname", f"127.0.0.1:{MICROSOCKS_PORT}"),
        ),
        "dante": Way(
            "dante",
            _debian("dante-server"),
            "as SOCKS",
            _dante,
            DANTE_PORT,
            ("--socks5-hostname", f"127.0.0.1:{DANTE_PORT}"),
            DANTE_PORT,
        ),
        "tinyproxy": Way(
            "tinyproxy",
            _debian("tinyproxy"),
            "as HTTP",
            _tinyproxy,
            TINYPROXY_PORT,
            ("--proxy", f"http://127.0.0.1:{TINYPROXY_PORT}"),
        ),
    }


def open_way(way: Way, host: Host) -> None:
    """Start what *way* needs on *host*, and wait until it takes clients."""
    way.start(host)
    if way.port:
        wait_until(
            lambda: bool(host.run(f"ss -Hltn sport = {way.port}").stdout),
            f"{way.name} listens",
        )


def _meshnode(host: Host, port: int, kind: str) -> None:
    host.start(
        [
            *(*installed_command(), "proxy", "--network", NETWORK),
            *("--listen", f"127.0.0.1:{port}", "--kind", kind),
        ],
        environment=environment(host.lab.directory, host.name),
    )


def _microsocks(host: Host) -> None:
    host.start([_program("microsocks"), "-i", "127.0.0.1", "-p", str(MICROSOCKS_PORT)])


def _dante(host: Host) -> None:
    config = _DANTE.format(
        log=host.lab.directory / "danted.log", port=DANTE_PORT, interface=NETWORK
    )
    path = _file(host, "danted.conf", config)
    host.start([_program("danted"), "-f", str(path)])


def _tinyproxy(host: Host) -> None:
    config = _TINYPROXY.format(
        port=TINYPROXY_PORT, log=host.lab.directory / "tinyproxy.log"
    )
    path = _file(host, "tinyproxy.conf", config)
    host.start([_program("tinyproxy"), "-d", "-c", str(path)])


def _file(host: Host, name: str, text: str) -> Path:
    path = host.lab.directory / name
    path.write_text(text)
    return path


def _program(name: str) -> str:
    path = shutil.which(name, path="/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin")
    if path is None:
        raise LabError(f"{name} is not installed")
    return path


def _debian(package: str) -> str:
    """Return the upstream part of the version of a Debian package."""
    query = ["dpkg-query", "-W", "-f", "${Version}", package]
    output = run(query, timeout=5).stdout
    match = re.match(r"(?:\d+:)?([\d.]+\d)", output)
    return match[1] if match else "unknown"
