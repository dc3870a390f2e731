"""`meshnode flows`: who talks to whom through the tunnel, and how much."""

import click

from meshnode.cli.help import EXIT_CODES, examples
from meshnode.cli.options import directory_options, json_option, network_option
from meshnode.cli.spans import SPAN
from meshnode.manage import paths
from meshnode.manage.networks import choose_network

_SNAPLEN = 128
"""Bytes in which all headers that we look at lie."""


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
@click.option("--duration", type=SPAN, help="End after this time, as 30s or 5m.")
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
    duration: int | None,
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
    from meshnode.capture.filters import parse_filter
    from meshnode.cli.flow_watch import watch_flows
    from meshnode.cli.tap import open_tap

    wanted = parse_filter(" ".join(filter))
    name = choose_network(network, directories.config)
    with open_tap(
        directories, name, wanted=wanted, underlay=False, snaplen=_SNAPLEN
    ) as tap:
        watch_flows(tap, top=top, once=once, duration=duration, as_json=as_json)
    return 0
