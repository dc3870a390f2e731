"""Each engine over a real TUN device and real sockets, in a namespace."""

import ctypes
import fcntl
import os
import select
import socket
import struct
import subprocess
import sys
import textwrap
from pathlib import Path as FilePath

import pytest

pytestmark = pytest.mark.root

ROOT = FilePath(__file__).parents[3]

CLONE_NEWNET = 0x40000000


@pytest.fixture(params=("reference", "fast"), autouse=True)
def _engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the processes that a test starts use this engine."""
    monkeypatch.setenv("ENGINE", request.param)


def in_new_namespace(body: str) -> str:
    """Run Python code in a fresh process and network namespace; return its output.

    The namespace ends with the process, so nothing is left to clean up.
    """
    prelude = "from tests.unit.dataplane.test_reference import *\nenter_namespace()\n"
    done = subprocess.run(
        [sys.executable, "-c", prelude + textwrap.dedent(body)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def enter_namespace() -> None:
    """Move this process into a network namespace of its own."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    run("ip", "link", "set", "lo", "up")


def run(*command: str) -> None:
    """Run a command that must succeed."""
    subprocess.run(command, check=True)


def open_tun(name: str, address: str) -> int:
    """Create a TUN device as the supervisor does, bring it up and address it."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    flags = 0x0001 | 0x1000 | 0x4000  # IFF_TUN, IFF_NO_PI, IFF_VNET_HDR
    fcntl.ioctl(descriptor, 0x400454CA, struct.pack("16sH22x", name.encode(), flags))
    fcntl.ioctl(descriptor, 0x400454D0, 0x1 | 0x2 | 0x4)  # checksum, TSO
    run("ip", "address", "add", address, "dev", name)
    run("ip", "link", "set", name, "mtu", "1420", "up")
    return descriptor


def wait_readable(descriptor: int) -> None:
    """Wait until something can be read."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    assert poller.poll(10_000)


def make_engine(role: str, tun: int, sock: socket.socket):  # type: ignore[no-untyped-def]
    """Build one direction, programmed with one peer on a second loopback port."""
    from meshnode.dataplane.engines import open_engine
    from meshnode.dataplane.interface import WorkerResources
    from meshnode.dataplane.traffic import RECORD_BYTES, TrafficTable

    traffic = TrafficTable(bytearray(8 * RECORD_BYTES))
    resources = WorkerResources(1, (tun,), (sock,), traffic)
    return getattr(open_engine(os.environ["ENGINE"]), role)(resources)


PAIR = """
    from tests.unit.dataplane.reference.halves import *
    tun = open_tun("t0", "10.0.0.1/24")
    ours = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); ours.bind(("127.0.0.1", 0))
    peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); peer.bind(("127.0.0.1", 0))
    peer.settimeout(10)
    path = Path(Endpoint(*peer.getsockname()))
    def program_engine(engine, *more):
        for command in (*program(path=path), *more):
            engine.apply(command, now=BORN_AT)
"""


def test_egress_seals_what_the_kernel_sends() -> None:
    """A datagram of our host arrives at the peer, sealed; unroutable ones bounce."""
    output = in_new_namespace(
        PAIR
        + """
    engine = make_engine("egress", tun, ours)
    program_engine(engine, *start_session(session()))
    app = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    app.sendto(b"hello", ("10.0.0.9", 7))
    wanted = []
    while not any(plain[9:10] == bytes((17,)) for _, plain in wanted):
        wait_readable(tun)
        engine.pump(tun, now=BORN_AT + 1)
        peer.setblocking(False)
        try:
            while True: wanted.append(open_data(peer.recv(2000)))
        except BlockingIOError: pass
    plain = [p for _, p in wanted if p[9] == 17][0]
    print(plain[28:33].decode())

    run("ip", "route", "add", "10.5.0.0/24", "dev", "t0")
    app.setsockopt(socket.IPPROTO_IP, 11, 1)  # IP_RECVERR
    app.connect(("10.5.0.1", 7))
    app.send(b"nobody")
    wait_readable(tun)
    engine.pump(tun, now=BORN_AT + 1)
    app.settimeout(10)
    try: app.recv(10)
    except OSError as error: print(error.errno)

    run("ip", "link", "delete", "t0")
    from meshnode.dataplane.interface import DeviceGoneError
    try: engine.pump(tun, now=BORN_AT + 1)
    except DeviceGoneError: print("gone")
    engine.close()
    """
    )
    assert output.split() == ["hello", "113", "gone"]


def test_ingress_delivers_what_the_peer_sends() -> None:
    """Sealed packets reach an application; a down device costs only packets."""
    output = in_new_namespace(
        PAIR
        + """
    import struct
    from tests.inner_packets import ip_packet
    from meshnode.errors import DropReason
    from meshnode.forwarding import EndpointMoved
    app = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    app.bind(("10.0.0.1", 7)); app.settimeout(10)
    engine = make_engine("ingress", tun, ours)
    program_engine(engine, *start_session(session()))
    def inner(text):
        udp = struct.pack(">HHHH", 9, 7, 8 + len(text), 0) + text
        packet = bytearray(ip_packet(4, 17, udp))
        packet[12:20] = bytes((10, 0, 0, 2, 10, 0, 0, 1))
        packet[10:12] = bytes(2)
        words = sum(struct.unpack(">10H", packet[:20]))
        packet[10:12] = struct.pack(">H", 0xFFFF - (words % 0xFFFF))
        return bytes(packet)
    def send(text, counter):
        peer.sendto(seal_data(inner(text), counter), ours.getsockname())
        [descriptor] = engine.descriptors()
        wait_readable(descriptor)
        engine.pump(descriptor, now=BORN_AT + 1)
    send(b"hello", 0)
    print(app.recv(100).decode())
    [moved] = [r for r in engine.reports() if isinstance(r, EndpointMoved)]
    print(moved.path.remote == path.remote, moved.path.source.host)

    run("ip", "link", "set", "t0", "down")
    send(b"lost", 1)
    print(engine.drops[DropReason.DEVICE_DOWN])
    run("ip", "link", "set", "t0", "up")
    send(b"again", 2)
    print(app.recv(100).decode())

    ours = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    ours.bind(("127.0.0.1", 0))
    engine.use_sockets((ours,))
    send(b"moved", 3)
    print(app.recv(100).decode())

    run("ip", "link", "delete", "t0")
    from meshnode.dataplane.interface import DeviceGoneError
    try: send(b"void", 4)
    except DeviceGoneError: print("gone")
    engine.close()
    """
    )
    words = ["hello", "True", "127.0.0.1", "1", "again", "moved", "gone"]
    assert output.split() == words


def test_a_tcp_stream_crosses_two_engines() -> None:
    """Offloads in both directions carry a megabyte unharmed between two hosts."""
    output = in_new_namespace(
        """
    from tests.unit.dataplane.tunnel import carry_stream
    print(carry_stream(1_000_000))
    """
    )
    assert output.split() == ["1000000", "equal"]


def test_a_tcp_stream_crosses_a_relay() -> None:
    """Both ways over a third engine, which has no session and opens nothing."""
    output = in_new_namespace(
        """
    from tests.unit.dataplane.tunnel import carry_stream_by_relay
    print(carry_stream_by_relay(1_000_000))
    """
    )
    assert output.split() == ["1000000", "equal"]


def test_nobody_speaks_from_where_channels_are() -> None:
    """Their addresses are no host's: what claims to come from there was forged."""
    output = in_new_namespace(
        PAIR
        + """
    from meshnode.channels import endpoint_of
    from meshnode.errors import DropReason
    behind = endpoint_of(7)
    run("ip", "address", "add", behind.host + "/128", "dev", "lo")
    ours = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); ours.bind(("::1", 0))
    liar = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    liar.bind((behind.host, behind.port))
    there = ours.getsockname()
    engine = make_engine("ingress", tun, ours)
    program_engine(engine, *start_session(session()))
    program_engine(engine, SetEndpoint(SLOT, Path(behind)))
    engine.reports()
    initiation = bytes((1, 0, 0, 0)) + bytes(144)
    for counter in range(3):
        liar.sendto(seal_data(b"", counter), there)
        liar.sendto(initiation, there)
    [descriptor] = engine.descriptors()
    for _ in range(6):
        engine.pump(descriptor, now=BORN_AT + 1)
    print(engine.drops[DropReason.CHANNEL_SOURCE], sum(engine.drops.values()))
    print(engine.handshakes(), engine.reports())
    engine.close()
    """
    )
    assert output.split() == ["6", "6", "[]", "[]"]


def test_real_workers_carry_a_control_frame() -> None:
    """From a command of one control to a report to the other; no TUN device sees it."""
    output = in_new_namespace(
        """
    import threading
    from meshnode.codec.forwarding import decode_report, encode_command
    from meshnode.dataplane.worker import run_egress, run_ingress
    from meshnode.forwarding import *
    from tests.unit.dataplane.reference.halves import *
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    for one in sockets: one.bind(("127.0.0.1", 0))
    links = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(3)]
    for mine, _ in links: mine.settimeout(20)
    ends = [theirs for _, theirs in links]
    here = session()
    there = Session(REMOTE_INDEX, INDEX, RECEIVE_KEY, SEND_KEY, BORN_AT, True)
    tuns = [open_tun("t0", "10.0.0.1/24"), open_tun("t1", "10.9.0.1/24")]
    clock = lambda: BORN_AT + 1
    threads = [
        threading.Thread(target=run_egress, kwargs={"clock": clock},
            args=(make_engine("egress", tuns[0], sockets[0]), ends[0])),
        threading.Thread(target=run_ingress, kwargs={"clock": clock},
            args=(make_engine("ingress", tuns[1], sockets[1]), ends[1], ends[2])),
    ]
    for thread in threads: thread.start()
    paths = [Path(Endpoint(*one.getsockname())) for one in sockets]
    def command(link, *commands):
        for one in commands: link.send(encode_command(one))
    command(links[1][0], *program(path=paths[0]), InstallSession(SLOT, there))
    frame = bytes((1, 3, 0)) + bytes(range(200))
    command(links[0][0], *program(path=paths[1]), SendControl(SLOT, frame))
    command(links[0][0], *start_session(here))
    reports = []
    while not any(isinstance(one, ControlReceived) for one in reports):
        reports.append(decode_report(links[1][0].recv(65536)))
    print(reports[-1].slot == SLOT, reports[-1].frame == frame + bytes(5))
    asked = []
    while NeedSession(SLOT, for_users=False) not in asked:
        asked.append(decode_report(links[0][0].recv(65536)))
    for mine, _ in links: mine.close()
    for thread in threads: thread.join(20)
    print(not any(thread.is_alive() for thread in threads))
    """
    )
    assert output.split() == ["True", "True", "True"]


def test_a_peer_given_up_is_told_at_once() -> None:
    """The host hears of it by the command alone, without another packet of its own."""
    output = in_new_namespace(
        PAIR
        + """
    from meshnode.forwarding import *
    engine = make_engine("egress", tun, ours)
    program_engine(engine, AddPeer(SLOT, is_sought=True), SetEndpoint(SLOT, None))
    app = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    app.setsockopt(socket.IPPROTO_IP, 11, 1)  # IP_RECVERR
    app.connect(("10.0.0.9", 7))
    app.send(b"anybody")
    while NeedSession(SLOT) not in engine.reports():
        wait_readable(tun)
        engine.pump(tun, now=BORN_AT + 1)
    app.settimeout(10)
    engine.apply(DropStaged(SLOT), now=BORN_AT + 1)
    try: app.recv(10)
    except OSError as error: print(error.errno)
    engine.close()
    """
    )
    assert output.split() == ["113"]
