"""However the offloads are limited, everything passes, and the status says so."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from meshnode.offloads import CHOICES, Offloads
from tests.e2e.mesh_parts import MeshHost, Site, await_acquainted
from tests.interop.scenarios import (
    LEFT_V4,
    LEFT_V6,
    RIGHT_V4,
    RIGHT_V6,
    answers,
    pair,
)
from topology.hosts import Lab
from topology.traffic import send_datagrams, send_file
from topology.tunnels import UserspaceWireGuard, meshnode

pytestmark = pytest.mark.root

ALL_OFF = dict.fromkeys(CHOICES, "off")
FEATURES = {
    "tun-tcp": "tcp-segmentation-offload",
    "tun-udp": "tx-udp-segmentation",
}
MODES = [
    {key: word} for key, words in CHOICES.items() for word in words if word != "auto"
]


def limited(engine: str, limits: dict[str, str]) -> UserspaceWireGuard:
    """Return meshnode with this engine and these limits."""
    program = meshnode(engine)
    options = [f"--offload={word}" for word in Offloads.of(limits).forced()]
    return replace(program, command=(*program.command, *options))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Bytes whose last segment and datagram are shorter than the others."""
    path = tmp_path / "file"
    path.write_bytes(os.urandom(300_001))
    return path


@pytest.mark.parametrize("engine", ["reference", "fast"])
@pytest.mark.parametrize(
    "limits",
    [*MODES, ALL_OFF],
    ids=lambda limits: " ".join(Offloads.of(limits).forced()),
)
def test_limited_offloads_carry_everything(
    lab: Lab, file: Path, engine: str, limits: dict[str, str]
) -> None:
    """TCP and UDP of both versions in both directions, with the right bytes."""
    program = limited(engine, limits)
    two = pair(lab, (program, program))
    left, right = two.left.inside, two.right.inside
    assert answers(left, RIGHT_V4, within=5)
    for send in (send_file, send_datagrams):
        send(file, left, right, RIGHT_V4)
        send(file, left, right, RIGHT_V6)
        send(file, right, left, LEFT_V4)
        send(file, right, left, LEFT_V6)
    for device in (two.left, two.right):
        assert "is now" not in device.process.output
        features = device.inside.run(f"ethtool -k {device.interface}").stdout
        for key, feature in FEATURES.items():
            assert key not in limits or f"{feature}: off" in features


def offload(host: MeshHost) -> Any:
    """Return what `status --json` says of offloads."""
    return host.json("status")["offload"]


@pytest.mark.parametrize("engine", ["reference", "fast"])
def test_status_shows_how_the_offloads_stand(lab: Lab, engine: str) -> None:
    """Configured in NET.toml, and with nothing configured."""
    site = Site(lab)
    anna, bert = site.host("anna"), site.host("bert")
    anna.found()
    anna.configure(engine=engine)
    anna.config_file.write_text(
        f"{anna.config_file.read_text()}\n[offload]\n"
        + "".join(f"{key} = {json.dumps(word)}\n" for key, word in ALL_OFF.items())
    )
    anna.up()
    bert.join(anna.invite())
    await_acquainted([anna, bert])
    assert offload(anna) == {
        key: {"state": "off", "setting": "off", "lowered": 0} for key in CHOICES
    }
    assert "tun-udp off (configured)" in anna.run("status").stdout
    free = offload(bert)
    # A kernel before 6.2 has none for UDP in a device.
    assert free.pop("tun-udp")["state"] in ("full", "off")
    assert free == {
        key: {"state": "full", "setting": "auto", "lowered": 0}
        for key in CHOICES
        if key != "tun-udp"
    }
    bert.pings(anna)


def test_a_wrong_word_in_the_configuration_is_one_line(lab: Lab) -> None:
    """The node is not started."""
    anna = Site(lab).host("anna")
    anna.found()
    anna.config_file.write_text(
        f'{anna.config_file.read_text()}\n[offload]\nudp-segmentation = "half"\n'
    )
    code, line = anna.refusal("up", anna.network)
    assert code != 0
    assert 'offload.udp-segmentation: "half" is none of auto, whole, off' in line
