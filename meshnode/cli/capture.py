"""`meshnode capture`: record packets, and what became of them."""

import click

from meshnode.cli.help import EXIT_CODES, examples
from meshnode.cli.options import directory_options, json_option, network_option
from meshnode.cli.spans import SPAN
from meshnode.errors import UsageError
from meshnode.manage import paths
from meshnode.manage.networks import choose_network

_CONSENT = "write the keys"


@click.command(
    epilog=examples(
        "meshnode capture -w office.pcapng host 10.77.0.2 and tcp port 443",
        "meshnode capture -w - | tshark -r -",
        "meshnode capture dropped",
        "meshnode capture --ring 60s -w fault.pcapng",
    )
    + f"\n\n{EXIT_CODES}",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.argument("filter", nargs=-1)
@click.option(
    "-w",
    "--write",
    "file",
    metavar="FILE",
    help="Write pcapng to FILE, - for standard output; else lines are printed.",
)
@click.option("--peer", metavar="NAME", help="Only packets from and to this member.")
@click.option(
    "--snaplen",
    type=click.IntRange(1, 65535),
    default=65535,
    show_default=True,
    help="Keep so many bytes of each packet.",
)
@click.option("--count", type=click.IntRange(1), help="End after so many packets.")
@click.option("--duration", type=SPAN, help="End after this time, as 30s or 5m.")
@click.option(
    "--ring",
    type=SPAN,
    help="Keep the last packets in memory, as 60s; write them to FILE at the end, and "
    "at each SIGUSR1.",
)
@click.option(
    "--underlay",
    is_flag=True,
    help="Also record the datagrams of the tunnel itself, with their addresses.",
)
@click.option(
    "--keylog",
    metavar="FILE",
    help="Write the keys of sessions that begin meanwhile to FILE, for Wireshark; - "
    "puts them into the capture. Needs --underlay, and asks first. Wireshark opens "
    "what WireGuard itself has: set cipher to chacha20-poly1305 for that.",
)
@network_option
@directory_options
@json_option
def capture(
    filter: tuple[str, ...],
    file: str | None,
    peer: str | None,
    snaplen: int,
    count: int | None,
    duration: int | None,
    ring: int | None,
    underlay: bool,
    keylog: str | None,
    network: str | None,
    directories: paths.Directories,
    as_json: bool,
) -> int:
    """Record the packets in the tunnel that pass FILTER.

    With each stand the member that it came from or went to, the path, and what became
    of it; packets that were dropped are there, too, with the reason. FILTER has
    tcpdump's words (host, net, port, src, dst, tcp, udp, icmp, ip, ip6, proto, less,
    greater, and, or, not, parentheses) and these: peer NAME, in, out, tunnel, underlay,
    relayed, dropped. Ctrl-C ends it.

    What the reader cannot keep up with is lost and counted; the tunnel never waits.
    """
    from meshnode.capture.filters import parse_filter
    from meshnode.cli.capture_run import record
    from meshnode.cli.capture_sinks import open_sink
    from meshnode.cli.tap import open_tap

    if ring is not None and (file is None or file == "-"):
        raise UsageError("--ring needs a file to write to: add -w FILE")
    if as_json and file is not None:
        raise UsageError("give --json or -w, not both")
    text = " ".join(filter)
    if peer is not None:
        text = f"peer {peer}" + (f" and ({text})" if text else "")
    wanted = parse_filter(text)
    if keylog is not None:
        _check_keylog(file, ring, underlay)
    name = choose_network(network, directories.config)
    with open_tap(
        directories,
        name,
        wanted=wanted,
        underlay=underlay,
        snaplen=snaplen,
        keys=keylog is not None,
    ) as tap:
        sink = open_sink(file, snaplen, ring=ring, keylog=keylog, as_json=as_json)
        click.echo(f"capturing on {name}; Ctrl-C ends it", err=True)
        with sink:
            kept = record(tap, sink, count=count, duration=duration)
    click.echo(
        f"{kept} packets captured, {tap.seen} seen, {tap.lost} dropped by the capture",
        err=True,
    )
    return 0


def _check_keylog(file: str | None, ring: int | None, underlay: bool) -> None:
    """Ask whether keys shall leave the node; raises `UsageError` if not."""
    if not underlay or file is None or ring is not None:
        raise UsageError("--keylog needs --underlay and -w FILE, and no --ring")
    click.echo(
        "Who has these keys and the capture reads all that was sent, and who has this "
        "node's private key, which is among them, can be taken for this node.",
        err=True,
    )
    answer = click.prompt(
        f'Type "{_CONSENT}" to go on', default="", show_default=False, err=True
    )
    if answer.strip() != _CONSENT:
        raise UsageError(f'no keys were written: that takes the words "{_CONSENT}"')
