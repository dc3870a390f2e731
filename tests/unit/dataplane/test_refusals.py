"""Both engines on a kernel that refuses what it offered: nothing is lost.

The kernel's calls are replaced in a process of its own by `refusing_kernel.c`, so that
what is tested is what runs.
"""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ENGINES = ("reference", "fast")

PREAMBLE = """
    import ctypes, logging, os, sys
    from contextlib import ExitStack
    from meshnode.codec import virtio
    from meshnode.errors import DropReason
    from meshnode.offloads import Offloads
    from tests.inner_packets import tcp_packet, udp_packet
    from tests.property.test_channels_agree import ONWARD, Crossing, wrapped
    from tests.property.test_engines_agree import Rig, drain
    from tests.unit.dataplane.reference.halves import open_data, seal_data

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    library = ctypes.CDLL(os.environ["LD_PRELOAD"].partition(":")[0])
    refusals = ctypes.c_int.in_dll(library, "refusals")
    engine, *limits = sys.argv[1:]

    def states():
        return [(one.key, one.state, one.lowered) for one in rig.engine.switches]

"""

EGRESS = """
    fields = (virtio.NEEDS_CSUM, virtio.GSO_TCPV4, 0, 1000, 20, 16)
    frame = virtio.HEADER.pack(*fields) + tcp_packet(4, bytes(range(250)) * 122)
    with ExitStack() as stack:
        rig = Rig(engine, "egress", stack, Offloads.parse(limits))
        seen = []
        for _ in range(3):
            rig.kernel.send(frame)
            rig.pump()
            seen.append(refusals.value)
        opened = [open_data(one) for one in rig.datagrams()]
        assert [counter for counter, _ in opened] == list(range(93))
        packets = virtio.segments(frame) * 3
        for packet, (_, plain) in zip(packets, opened, strict=True):
            assert plain[: len(packet)] == packet
        assert rig.engine.drops[DropReason.SEND_ERROR] == 0
        assert seen[0] == seen[2]
        print(seen[0], *states())
"""

INGRESS = """
    def stream(kind, first):
        if kind == "udp":
            return [udp_packet(4, bytes((n,)) * 500, number=n) for n in range(8)]
        return [
            tcp_packet(4, bytes((n,)) * 500, sequence=first + 500 * n, number=n)
            for n in range(8)
        ]

    with ExitStack() as stack:
        rig = Rig(engine, "ingress", stack, Offloads.parse(limits))
        counter, seen, frames = 0, [], {}
        for number, kind in enumerate(("udp", "tcp") * 3):
            packets = stream(kind, 4000 * number)
            for packet in packets:
                rig.peer.sendto(seal_data(packet, counter), rig.address)
                counter += 1
            rig.pump()
            got = []
            while True:
                try:
                    got.append(rig.kernel.recv(70_000))
                except BlockingIOError:
                    break
            assert [p for one in got for p in virtio.segments(one)] == packets
            frames[kind] = len(got)
            seen.append(refusals.value)
        assert rig.engine.drops[DropReason.DEVICE_DOWN] == 0
        assert seen[1] == seen[-1]
        print(seen[-1], frames["tcp"], frames["udp"], *states())
"""


RELAY = """
    refused = os.environ["REFUSED"]
    sent = [wrapped(ONWARD, bytes((n,)) * 500) for n in range(20)]
    sent.append(wrapped(ONWARD, b"tail"))
    with ExitStack() as stack:
        rig = Crossing(engine, "ingress", stack)
        for _ in range(2):
            os.environ["REFUSED"] = "nothing"
            rig.send(0, sent, to_beside=False)
            os.environ["REFUSED"] = refused
            rig.pump()
        got = [one[8:] for one in drain(rig.hosts[2])]
        assert got in ([], [one[8:] for one in sent] * 2)
        state = next(one for one in states() if one[0] == "udp-segmentation")
        print(len(got), rig.engine.drops[DropReason.SEND_ERROR], state)
"""


@pytest.fixture(scope="session")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that refuses, compiled."""
    library = tmp_path_factory.mktemp("kernel") / "refusing_kernel.so"
    source = Path(__file__).with_name("refusing_kernel.c")
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-Wall", "-Werror", source, "-o", library, "-ldl"],
        check=True,
        timeout=60,
    )
    return library


def run(kernel: Path, refused: str, script: str, *arguments: str) -> tuple[str, str]:
    """Run *script* where *refused* is refused; return what it printed and logged."""
    preload = os.environ.get("LD_PRELOAD")
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PREAMBLE + script), *arguments],
        env={
            **os.environ,
            "LD_PRELOAD": f"{kernel}:{preload}" if preload else str(kernel),
            "REFUSED": refused,
            "PYTHONPATH": str(Path(__file__).parents[3]),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip(), result.stderr


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("refused", "state", "remedy"),
    [
        ("segments", "off", "udp-segmentation=off"),
        ("tails", "whole", "udp-segmentation=whole"),
    ],
)
def test_refused_segments_are_sent_another_way(
    kernel: Path, engine: str, refused: str, state: str, remedy: str
) -> None:
    """Every datagram arrives, in order; the second burst is not refused any more."""
    printed, logged = run(kernel, refused, EGRESS, engine)
    # The compiled way is refused first, then the reference, which finds out why.
    refusals = 1 if engine == "reference" else 2
    assert printed == f"{refusals} ('udp-segmentation', '{state}', 1)"
    assert logged.count("\n") == 1
    assert f"udp-segmentation is now {state}" in logged
    assert remedy in logged


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("refused", "setting"),
    [("segments", "off"), ("tails", "whole"), ("tails", "off"), ("nothing", "whole")],
)
def test_limited_segmentation_is_never_refused(
    kernel: Path, engine: str, refused: str, setting: str
) -> None:
    """What is forced holds from the first datagram on."""
    limit = f"udp-segmentation={setting}"
    printed, logged = run(kernel, refused, EGRESS, engine, limit)
    assert printed == f"0 ('udp-segmentation', '{setting}', 0)"
    assert logged == ""


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("refused", ["tcp", "udp"])
def test_refused_frames_are_written_as_packets(
    kernel: Path, engine: str, refused: str
) -> None:
    """Every packet arrives, in order; that kind is single from then on, others not."""
    printed, logged = run(kernel, refused, INGRESS, engine)
    refusals, tcp, udp, states = printed.split(" ", 3)
    assert refusals == "1"
    assert (tcp, udp) == (("8", "1") if refused == "tcp" else ("1", "8"))
    assert f"('tun-{refused}', 'reads', 1)" in states
    assert states.count("'full', 0") == 3
    assert logged.count("\n") == 1
    assert f"tun-{refused} is now reads" in logged
    assert f"tun-{refused}=off" in logged


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("refused", ["tcp", "udp"])
def test_limited_frames_are_never_refused(
    kernel: Path, engine: str, refused: str
) -> None:
    """A device that takes no frame of a kind gets none."""
    printed, logged = run(kernel, refused, INGRESS, engine, f"tun-{refused}=off")
    assert printed.startswith("0 8 1 " if refused == "tcp" else "0 1 8 ")
    assert f"('tun-{refused}', 'off', 0)" in printed
    assert logged == ""


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("refused", "counts", "state"),
    [("segments", "42 0", "off"), ("tails", "42 0", "whole"), ("room", "0 42", "full")],
)
def test_relay_sends_another_way_and_waits_for_no_room(
    kernel: Path, engine: str, refused: str, counts: str, state: str
) -> None:
    """Who forwards drops what finds the buffer full, and nothing else."""
    printed, _ = run(kernel, refused, RELAY, engine)
    lowered = 0 if refused == "room" else 1
    assert printed == f"{counts} ('udp-segmentation', '{state}', {lowered})"
