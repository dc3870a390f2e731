"""Captures of real nodes, read back by Wireshark's tools."""

import json
import os
import signal
import stat
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from meshnode.capture import pcapng
from tests.e2e.mesh_parts import MeshHost, Site, found_mesh
from topology.hosts import Lab, wait_until
from topology.mesh import installed_command
from topology.processes import Process

pytestmark = pytest.mark.root

COUNT = 20


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[MeshHost, MeshHost]]:
    """Two members that have pinged each other; no capture changes anything of them."""
    with Lab() as lab:
        anna, bert = found_mesh(Site(lab), "anna", "bert")
        anna.pings(bert)
        yield anna, bert


def begin(host: MeshHost, *words: str) -> Process:
    """Start a capture, and return when the node lends its tap."""
    process = host.start("capture", *words)

    def has_begun() -> bool:
        assert process.is_running, process.output
        return "Ctrl-C ends it" in process.output

    wait_until(has_begun, "the capture runs")
    return process


def end(process: Process) -> str:
    """Let a capture end as by Ctrl-C; return its summary."""
    process.signal(signal.SIGINT)
    assert process.wait(20) == 0
    return process.output.splitlines()[-1]


def tshark(path: Path, *words: str, options: Sequence[str] = ()) -> list[list[str]]:
    """Return the fields that tshark finds in a file."""
    fields = [option for word in words for option in ("-e", word)]
    fields += ["-E", "separator=|", *options]
    result = subprocess.run(
        ["tshark", "-n", "-r", str(path), "-T", "fields", *fields],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return [line.split("|") for line in result.stdout.splitlines()]


def test_what_is_captured_is_what_was_pinged(
    pair: tuple[MeshHost, MeshHost], tmp_path: Path
) -> None:
    """Every packet once, both ways, with who it was and how it went."""
    anna, bert = pair
    path = tmp_path / "pings.pcapng"
    capture = begin(anna, "-w", str(path), "icmp and ip")
    anna.host.run(f"ping -n -q -c {COUNT} -i 0.01 -W 5 {bert.address}")
    assert f"{2 * COUNT} packets captured" in end(capture)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    rows = tshark(path, "frame.interface_name", "icmp.type", "frame.comment")
    place = f"{bert.port.v4}:51820"
    sent = ["tunnel-out", "8", f"peer=bert path=direct {place} verdict=sent"]
    got = ["tunnel-in", "0", f"peer=bert path=direct {place} verdict=delivered"]
    assert rows == [sent, got] * COUNT


def test_drops_are_there_with_their_reason(
    pair: tuple[MeshHost, MeshHost],
) -> None:
    """As lines of JSON; who asks for nobody, or while another captures, is told."""
    anna, _ = pair
    code, text = anna.refusal("capture", "--peer", "nobody")
    assert (code, text) == (2, "meshnode: no member 'nobody'; see: meshnode peers")
    capture = begin(anna, "--json", "dropped", "and", "net", "10.77.0.0/16")
    code, text = anna.refusal("capture")
    assert code == 1
    assert f"process {capture.pid} captures already" in text
    anna.host.run("ping -n -c 1 -W 1 10.77.200.200", check=False)
    wait_until(lambda: '"verdict"' in capture.output, "the drop is told")
    end(capture)
    lines = [json.loads(one) for one in capture.output.splitlines() if one[0] == "{"]
    [found] = [one for one in lines if one["protocol"] == "icmp"]
    assert found["verdict"] == "dropped: no peer for destination"
    assert found["destination"] == "10.77.200.200"
    assert found["side"] == "tunnel-out"


def test_the_underlay_is_opened_by_the_keys(lab: Lab, tmp_path: Path) -> None:
    """Wireshark decrypts what was sent after a handshake that the capture has seen."""
    site = Site(lab)
    anna, bert = site.host("anna"), site.host("bert")
    anna.found()
    anna.configure(cipher="chacha20-poly1305")
    anna.up()
    path, keys = tmp_path / "outer.pcapng", tmp_path / "keys"
    words = ("capture", "-w", str(path), "--underlay", "--keylog", str(keys))
    refused = anna.run(*words, check=False, stdin="yes\n")
    assert refused.returncode == 2
    assert not path.exists()
    assert not keys.exists()
    command = " ".join(installed_command() + words)
    shell = f"echo write the keys | exec {command}"
    capture = anna.host.start(["sh", "-c", shell], environment=anna.variables)
    wait_until(lambda: "Ctrl-C ends it" in capture.output, "the capture runs")
    bert.join(anna.invite())
    anna.pings(bert)
    anna.host.run(f"ping -n -q -c {COUNT} -i 0.01 -W 5 {bert.address}")
    [number] = [
        pid for pid in anna.host.processes() if b"--underlay" in _command_line(pid)
    ]
    os.kill(number, signal.SIGINT)
    assert capture.wait(20) == 0
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600
    options = ("-o", f"wg.keylog_file:{keys}", "-Y", "wg.type == 4 && icmp.type == 8")
    rows = tshark(path, "frame.interface_name", "udp.srcport", options=options)
    assert rows.count(["underlay-out", "51820"]) >= COUNT
    # The same with the keys in the capture itself, behind its five first blocks.
    blocks = path.read_bytes()
    at = 0
    for _ in range(5):
        at += int.from_bytes(blocks[at + 4 : at + 8], "little")
    held = pcapng.secrets(pcapng.WIREGUARD_KEY_LOG, keys.read_bytes())
    path.write_bytes(blocks[:at] + held + blocks[at:])
    assert tshark(path, "frame.interface_name", options=options[2:]) == [
        row[:1] for row in rows
    ]
    inner = tshark(
        path,
        "frame.comment",
        options=("-Y", "frame.interface_name == tunnel-out && icmp.type == 8"),
    )
    assert COUNT <= len(rows) <= len(inner)


def _command_line(pid: int) -> bytes:
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
        return b"" if words.startswith(b"sh\0") else words
    return b""


def test_a_ring_keeps_the_last_seconds(
    pair: tuple[MeshHost, MeshHost], tmp_path: Path
) -> None:
    """Written at a signal while it goes on, and at the end."""
    anna, bert = pair
    path = tmp_path / "last.pcapng"
    capture = begin(
        anna, "--ring", "60s", "-w", str(path), "--snaplen", "40", "ip and icmp"
    )
    anna.host.run(f"ping -n -q -c 3 -i 0.01 -W 5 {bert.address}")
    time.sleep(0.1)
    capture.signal(signal.SIGUSR1)
    wait_until(lambda: "6 packets written" in capture.output, "the ring is written")
    assert len(tshark(path, "frame.number")) == 6
    anna.host.run(f"ping -n -q -c 3 -i 0.01 -W 5 {bert.address}")
    time.sleep(0.1)
    end(capture)
    assert tshark(path, "frame.cap_len", "frame.len") == [["40", "84"]] * 12


def test_the_tunnel_never_waits_for_the_reader(
    pair: tuple[MeshHost, MeshHost], tmp_path: Path
) -> None:
    """With the reader stopped, traffic goes on; what was lost is counted."""
    anna, bert = pair
    path = tmp_path / "load.pcapng"
    bert.host.start(["iperf3", "-s", "-1"])
    is_listening = "ss -Hltn sport = :5201"
    wait_until(lambda: bool(bert.host.run(is_listening).stdout), "iperf3 listens")
    capture = begin(anna, "-w", str(path))
    capture.signal(signal.SIGSTOP)
    # Three times of what a ring holds.
    anna.host.run(f"iperf3 -n 24M -c {bert.address}", timeout=50)
    anna.pings(bert)
    capture.signal(signal.SIGCONT)
    summary = end(capture)
    kept, _, dropped = [int(w) for w in summary.replace(",", "").split() if w.isdigit()]
    assert kept > 1000
    assert dropped > 0
    info = subprocess.run(
        ["capinfos", "-M", "-c", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert str(kept) in info.stdout


def test_flows_name_the_busiest(pair: tuple[MeshHost, MeshHost]) -> None:
    """Both directions are one flow, with its peer."""
    anna, bert = pair
    flows = anna.host.start(
        [*installed_command(), "flows", "--json", "--duration", "3s", "icmp and ip"],
        environment=anna.variables,
    )
    anna.host.run(f"ping -n -q -i 0.1 -w 2 {bert.address}", check=False)
    assert flows.wait(20) == 0
    last = json.loads(flows.output.splitlines()[-1])
    [flow] = last["flows"]
    assert flow["peer"] == "bert"
    assert flow["protocol"] == "icmp"
    assert flow["packets"] % 2 == 0
    assert flow["bytes"] == 84 * flow["packets"]


def test_a_capture_that_was_killed_leaves_nothing_on(
    pair: tuple[MeshHost, MeshHost],
) -> None:
    """Another one can begin at once, and sees only what is new."""
    anna, bert = pair
    capture = begin(anna)
    anna.pings(bert)
    capture.signal(signal.SIGKILL)
    capture.wait()
    again = begin(anna, "--json", "icmp and ip")
    anna.host.run(f"ping -n -q -c 1 -W 5 {bert.address}")
    wait_until(lambda: again.output.count("{") >= 4, "the ping is told")
    assert "2 packets captured" in end(again)
