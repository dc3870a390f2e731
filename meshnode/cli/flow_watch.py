"""Flows as they are shown: a table for a terminal, or lines of JSON."""

import sys
import time

from meshnode.capture.flows import Flow, FlowTable, describe_flow, flow_text
from meshnode.cli.output import to_json
from meshnode.cli.tables import size, table
from meshnode.cli.tap import PAUSE, Tap

INTERVAL = 1.0
"""Seconds between two tables."""

_CLEAR = "\x1b[H\x1b[2J"


def watch_flows(
    tap: Tap, *, top: int, once: bool, duration: float | None, as_json: bool
) -> None:
    """Show the *top* busiest flows each second, until *duration* is over or Ctrl-C.

    Raises:
        NotRunningError: if the node has ended.
    """
    ends_at = float("inf") if duration is None else time.monotonic() + duration
    found = FlowTable()
    try:
        is_over = False
        while not is_over:
            left = ends_at - time.monotonic()
            seconds = _collect(tap, found, min(INTERVAL, left))
            is_over = once or time.monotonic() >= ends_at
            _show(found.top(top, seconds=seconds), tap.lost, as_json=as_json)
    except KeyboardInterrupt:
        return


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
