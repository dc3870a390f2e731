"""`meshnode flows`: who talks to whom through the tunnel, and how much."""

import sys
import time

import click

from meshnode.capture.filters import parse_filter
from meshnode.capture.flows import Flow, FlowTable, describe_flow, flow_text
from meshnode.cli.capture import Span
from meshnode.cli.help import EXIT_CODES, examples
from meshnode.cli.options import directory_options, json_option, network_option
from meshnode.cli.output import to_json
from meshnode.cli.tables import size, table
from meshnode.cli.tap import PAUSE, Tap, open_tap
from meshnode.manage import paths
from meshnode.manage.networks import choose_network

_SNAPLEN = 128
"""Bytes in which all headers that we look at lie."""

_INTERVAL = 1.0
_CLEAR = "\x1b[H\x1b[2J"


@click.command(
    epilog=examples(
        "meshnode flows",
        "meshnode flows --once peer paris",
        "meshnode flows --json --duration 10s",
    )
    + f"\n\n{EXIT_CODES}",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.argument("filter", nargs=-1)
@click.option("--once", is_flag=True, help="Print one table, after a second.")
@click.option("--duration", type=Span(), help="End after this time, as 30s or 5m.")
@click.option(
    "--top",
    type=click.IntRange(1, 1000),
    default=20,
    show_default=True,
    help="How many flows to show.",
)
@network_option
@directory_options
@json_option
def flows(
    filter: tuple[str, ...],
    once: bool,
    duration: float | None,
    top: int,
    network: str | None,
    directories: paths.Directories,
    as_json: bool,
) -> int:
    """Show the busiest flows in the tunnel, every second.

    A flow is both directions of one protocol between two addresses and ports, through
    one member. FILTER has the words of meshnode capture. With --json each second is one
    line. Ctrl-C ends it.
    """
    wanted = parse_filter(" ".join(filter))
    name = choose_network(network, directories.config)
    ends_at = float("inf") if duration is None else time.monotonic() + duration
    found = FlowTable()
    with open_tap(
        directories, name, wanted=wanted, underlay=False, snaplen=_SNAPLEN
    ) as tap:
        try:
            is_over = False
            while not is_over:
                left = ends_at - time.monotonic()
                seconds = _collect(tap, found, min(_INTERVAL, left))
                is_over = once or time.monotonic() >= ends_at
                _show(found.top(top, seconds=seconds), tap.lost, as_json=as_json)
        except (KeyboardInterrupt, BrokenPipeError):
            pass
    return 0


def _collect(tap: Tap, found: FlowTable, seconds: float) -> float:
    """Add packets for so many seconds; return how long it took."""
    began = time.monotonic()
    while (passed := time.monotonic() - began) < seconds:
        packets = tap.read()
        found.add(packets)
        if not packets:
            tap.keys()  # also how we hear that the node has ended
            time.sleep(PAUSE)
    tap.losses()
    return passed


def _show(busiest: list[Flow], lost: int, *, as_json: bool) -> None:
    if as_json:
        values = {
            "at": round(time.time(), 3),
            "flows": [describe_flow(one) for one in busiest],
            "lost": lost,
        }
        sys.stdout.write(f"{to_json(values)}\n")
        sys.stdout.flush()
        return
    rows = []
    for one in busiest:
        protocol, ends = flow_text(one)
        rate, octets = f"{size(round(one.rate))}/s", size(one.octets)
        counts = (str(one.packets), str(one.dropped))
        rows.append((protocol, ends, one.peer or "-", rate, octets, *counts))
    head = ("PROTO", "FLOW", "PEER", "RATE", "BYTES", "PACKETS", "DROPPED")
    lines = table(head, rows)
    if lost:
        lines = [*lines, f"{lost} packets were too many to be counted"]
    # A file or a pipe gets one table after the other.
    text = "\n".join(lines) + "\n"
    sys.stdout.write(_CLEAR + text if sys.stdout.isatty() else text)
    sys.stdout.flush()
