"""Both engines do the same with whatever comes by relays, and goes to them."""

from collections import Counter
from contextlib import ExitStack

from hypothesis import given, settings
from hypothesis import strategies as st

from meshnode.codec import virtio
from meshnode.codec.channels import encode_header
from meshnode.forwarding import (
    Command,
    OpenChannel,
    PathHeard,
    SendControl,
    SendKeepalive,
    SetEndpoint,
    SetStandby,
)
from tests.inner_packets import ip_packet
from tests.property.test_engines_agree import ENGINES
from tests.unit.dataplane.reference.halves import SLOT, open_data, seal_data
from tests.unit.dataplane.test_channels_by_pumps import (
    BEHIND,
    LONG,
    RELAY,
    Relayed,
    got,
)

SENDERS = ("peer", "relay", "next")
CONTENTS = st.sampled_from(("data", "data", "data", "frame", "keepalive", "noise"))


@st.composite
def steps(draw: st.DrawFn) -> tuple[str, int, bytes | None, int]:
    """Who sends, by which channel (0 for none), a plaintext or noise, a counter."""
    kind = draw(CONTENTS)
    plain = {
        "data": ip_packet(4, 99, bytes(draw(st.sampled_from((40, 40, 60))))),
        "frame": b"\1\2\0ab",
        "keepalive": b"",
    }.get(kind)
    channel = draw(st.sampled_from((0, 0, 7, 7, 8, 9)))
    return draw(st.sampled_from(SENDERS)), channel, plain, draw(st.integers(0, 30))


@settings(max_examples=30, deadline=None)
@given(st.lists(steps(), min_size=4, max_size=30), st.booleans())
def test_both_receive_and_forward_alike(
    sent: list[tuple[str, int, bytes | None, int]], is_behind: bool
) -> None:
    """The same packets, forwards, reports and drops."""
    outcomes = []
    for name in ENGINES:
        with ExitStack() as stack:
            rig = Relayed(name, "ingress", stack)
            if is_behind:
                rig.apply(SetEndpoint(SLOT, BEHIND))
            for sender, channel, plain, counter in sent:
                data = bytes(33) if plain is None else seal_data(plain, counter)
                if channel:
                    data = encode_header(channel) + data
                getattr(rig, sender).sendto(data, rig.address)
                rig.pump()
            reports = rig.engine.reports()
            heard = [one.path.remote.port for one in reports if type(one) is PathHeard]
            outcomes.append(
                (
                    rig.packets(),
                    [got(rig.next), got(rig.relay), got(rig.peer)],
                    Counter(type(report) for report in reports),
                    len(heard),
                    rig.drops(),
                    rig.engine.relayed,
                    rig.view.read(SLOT),
                )
            )
    assert outcomes[0] == outcomes[1]


COMMANDS = st.sampled_from(
    (
        "direct",
        "behind",
        "standby",
        "alone",
        "frame",
        "frame by",
        "keepalive",
        "renewed",
    )
)


@settings(max_examples=30, deadline=None)
@given(st.lists(COMMANDS, min_size=2, max_size=9))
def test_both_send_alike(names: list[str]) -> None:
    """The same datagrams to the same places, and no counter for two messages."""
    outcomes = []
    for name in ENGINES:
        with ExitStack() as stack:
            rig = Relayed(name, "egress", stack)
            direct: list[bytes] = []
            relayed: list[bytes] = []
            for one in names:
                rig.apply(_command(rig, one))
                rig.kernel.send(LONG)
                rig.kernel.send(virtio.PLAIN + ip_packet(4, 99, bytes(70)))
                rig.pump()
                # At once: the buffers of sockets are small.
                direct += rig.datagrams()
                relayed += got(rig.relay)
            sealed = set(direct) | {one[8:] for one in relayed}
            counters = [open_data(one)[0] for one in sealed]
            assert len(set(counters)) == len(counters)
            facts = rig.view.read(SLOT)
            # A second path follows each frame or each batch, so order is not compared.
            outcomes.append((sorted(direct), sorted(relayed), rig.drops(), facts))
    assert outcomes[0] == outcomes[1]


def _command(rig: Relayed, name: str) -> Command:
    commands: dict[str, Command] = {
        "direct": SetEndpoint(SLOT, rig.path),
        "behind": SetEndpoint(SLOT, BEHIND),
        "standby": SetStandby(SLOT, BEHIND),
        "alone": SetStandby(SLOT, None),
        "frame": SendControl(SLOT, b"\1\2\0ab"),
        "frame by": SendControl(SLOT, b"\1\2\0ab", BEHIND),
        "keepalive": SendKeepalive(SLOT),
        "renewed": OpenChannel(7, RELAY, 71),
    }
    return commands[name]
