"""How a node starts, refuses to start, and ends; nothing is ever left behind."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from topology.hosts import Host, HostState, Lab, wait_until
from topology.leaks import UAPI_SOCKETS
from topology.tunnels import WireGuardDevice, meshnode

pytestmark = pytest.mark.root

COMMAND = str(Path(sys.executable).with_name("meshnode-wg"))


def environment(lab: Lab) -> dict[str, str]:
    """Return the environment that keeps a node's files inside the laboratory."""
    return {
        "MESHNODE_RUN_DIR": str(lab.directory / "run"),
        "MESHNODE_STATE_DIR": str(lab.directory / "state"),
    }


def start_daemon(host: Host, name: str) -> subprocess.CompletedProcess[str]:
    """Run `meshnode-wg NAME`, which returns when the daemon is ready or failed."""
    return host.run([COMMAND, name], check=False, environment=environment(host.lab))


def refusal(
    host: Host, name: str, *, before: HostState, command: tuple[str, ...] = (COMMAND,)
) -> tuple[int, str]:
    """Start a node that must be refused; return its exit code and its one line."""
    result = host.run([*command, name], check=False, environment=environment(host.lab))
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert host.state().changes_since(before) == []
    return result.returncode, result.stderr


def socket_of(name: str) -> Path:
    """Return where the node's userspace-API socket is."""
    return UAPI_SOCKETS / f"{name}.sock"


def await_end(host: Host, name: str) -> None:
    """Wait until nothing of the node is left: processes, interface, socket."""
    wait_until(lambda: not host.processes(), "all processes have ended")
    assert name not in host.interfaces()
    assert not socket_of(name).exists()
    assert not list((host.lab.directory / "run").glob("*.journal"))


@pytest.fixture
def host(lab: Lab) -> Host:
    """A host without any link."""
    return lab.host("a")


def supervisor_of(host: Host, name: str) -> int | None:
    """Return the process id of the node's supervisor, None if it has ended."""
    for pid in host.processes():
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if COMMAND.encode() in words and name.encode() in words:
            return pid
    return None


@pytest.fixture
def daemon(lab: Lab, host: Host) -> Iterator[str]:
    """The name of an interface that a daemon runs in the host."""
    name = lab.interface_name()
    result = start_daemon(host, name)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    yield name
    end(host, name, signal.SIGTERM)


def end(host: Host, name: str, number: signal.Signals) -> None:
    """Send the supervisor a signal, if it runs, and wait until nothing is left."""
    supervisor = supervisor_of(host, name)
    if supervisor is not None:
        os.kill(supervisor, number)
    await_end(host, name)


def test_the_command_returns_when_everything_can_be_used(
    host: Host, daemon: str
) -> None:
    """After it has returned, interface and socket are there at once, MTU 1420."""
    assert daemon in host.interfaces()
    assert f"interface: {daemon}" in host.run("wg show").stdout
    assert host.ip(f"-j link show {daemon}")[0]["mtu"] == 1420
    assert stat.S_IMODE(socket_of(daemon).stat().st_mode) == 0o600
    assert len(host.processes()) == 4


def test_processes_have_the_privileges_they_need_only(host: Host, daemon: str) -> None:
    """Workers are nobody; control keeps CAP_NET_ADMIN; no key is in any argument."""
    pids = host.processes()
    key = host.run("wg genkey").stdout
    host.run(f"wg set {daemon} private-key /dev/stdin", stdin=key)
    status = [Path(f"/proc/{pid}/status").read_text() for pid in pids]
    assert sum("Uid:\t65534\t65534\t65534\t65534" in text for text in status) == 2
    assert sum("CapEff:\t0000000000001000" in text for text in status) == 1
    assert sum("CapEff:\t0000000000000000" in text for text in status) == 2
    for pid in pids:
        for file in ("cmdline", "environ"):
            assert key.strip().encode() not in Path(f"/proc/{pid}/{file}").read_bytes()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_everything(
    host: Host, daemon: str, number: signal.Signals
) -> None:
    """SIGTERM and SIGINT end the node cleanly."""
    end(host, daemon, number)


def test_removing_the_socket_ends_everything(host: Host, daemon: str) -> None:
    """As for wireguard-go, deleting the socket file is how `wg-quick down` ends it."""
    socket_of(daemon).unlink()
    await_end(host, daemon)


def test_deleting_the_interface_ends_everything(host: Host, daemon: str) -> None:
    """`ip link delete` is a clean end."""
    host.ip(f"link delete {daemon}")
    await_end(host, daemon)


def test_killing_the_supervisor_ends_everything(host: Host, daemon: str) -> None:
    """After kill -9 children end by themselves, and control removes the socket."""
    end(host, daemon, signal.SIGKILL)


@pytest.mark.parametrize(
    "make_it_end",
    [
        lambda device: device.process.signal(signal.SIGTERM),
        lambda device: device.host.ip(f"link delete {device.interface}"),
        lambda device: socket_of(device.interface).unlink(),
    ],
    ids=["SIGTERM", "interface deleted", "socket removed"],
)
def test_a_clean_end_has_exit_code_zero(
    host: Host, make_it_end: Callable[[WireGuardDevice], None]
) -> None:
    """Whatever the reason to end is, it is no failure, and the log has no error."""
    device = meshnode().start(host)
    make_it_end(device)
    assert device.process.wait() == 0
    assert "ERROR" not in device.process.output
    assert "WARNING" not in device.process.output


def test_an_interface_that_exists_is_refused(lab: Lab, host: Host) -> None:
    """The name of somebody else's interface is not taken over."""
    name = lab.interface_name()
    host.ip(f"tuntap add {name} mode tun")
    code, line = refusal(host, name, before=host.state())
    assert code == 1
    assert f"interface {name} exists already" in line
    host.ip(f"link delete {name}")


def test_a_second_node_is_refused(host: Host, daemon: str) -> None:
    """The name of a running node is refused, and the node goes on."""
    code, line = refusal(host, daemon, before=host.state())
    assert code == 1
    assert "is already run by process" in line
    assert "interface:" in host.run("wg show").stdout


def test_a_socket_in_use_is_refused(lab: Lab, daemon: str) -> None:
    """A name that runs in another namespace is refused: its socket is in the way."""
    other = lab.host("b")
    settings = environment(lab) | {"MESHNODE_RUN_DIR": str(lab.directory / "other")}
    result = other.run([COMMAND, daemon], check=False, environment=settings)
    assert result.returncode == 1
    assert "is already in use" in result.stderr
    assert other.interfaces() == set()
    assert socket_of(daemon).exists()


def test_a_stale_socket_is_replaced(lab: Lab, host: Host) -> None:
    """A socket file of a process that was killed is no obstacle."""
    name = lab.interface_name()
    program = (
        "import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])",
        str(socket_of(name)),
    )
    UAPI_SOCKETS.mkdir(exist_ok=True)
    host.run([sys.executable, "-c", *program])
    assert socket_of(name).exists()
    assert start_daemon(host, name).returncode == 0
    end(host, name, signal.SIGTERM)


def test_nobody_is_refused(lab: Lab, host: Host) -> None:
    """Without CAP_NET_ADMIN the exit code is 5, and the line says how to get it."""
    drop = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", COMMAND)
    code, line = refusal(host, lab.interface_name(), before=host.state(), command=drop)
    assert code == 5
    assert "CAP_NET_ADMIN" in line


def test_a_machine_without_tun_is_refused(lab: Lab, host: Host) -> None:
    """Without /dev/net/tun the line names it."""
    script = 'mount -t tmpfs none /dev/net && exec "$@"'
    command = ("unshare", "--mount", "sh", "-c", script, "sh", COMMAND)
    code, line = refusal(
        host, lab.interface_name(), before=host.state(), command=command
    )
    assert code == 1
    assert "/dev/net/tun is missing" in line


def test_a_taken_port_changes_nothing(host: Host, daemon: str) -> None:
    """`wg set listen-port` to a taken port fails, and all goes on as before."""
    busy = host.start(
        [
            sys.executable,
            "-c",
            "import socket, time; s = socket.socket(socket.AF_INET, "
            "socket.SOCK_DGRAM); s.bind(('', 40000)); time.sleep(60)",
        ]
    )
    wait_until(lambda: "40000" in host.run("ss -uln").stdout, "the port is taken")
    before = host.run(f"wg show {daemon} dump").stdout
    result = host.run(f"wg set {daemon} listen-port 40000 fwmark 7", check=False)
    assert "Address already in use" in result.stderr
    assert host.run(f"wg show {daemon} dump").stdout == before
    busy.stop()
    host.run(f"wg set {daemon} listen-port 40000 fwmark 7")
    assert host.run(f"wg show {daemon} listen-port").stdout.strip() == "40000"
    assert "[::]:40000" in host.run("ss -uln6").stdout
