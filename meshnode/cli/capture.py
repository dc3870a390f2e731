"""`meshnode capture`: record packets, and what became of them."""

import signal
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

import click

from meshnode.capture.filters import parse_filter
from meshnode.cli.capture_sinks import FileSink, KeyedSink, LastSink, LineSink, Sink
from meshnode.cli.help import EXIT_CODES, examples
from meshnode.cli.options import directory_options, json_option, network_option
from meshnode.cli.tap import PAUSE, Tap, open_tap
from meshnode.errors import UsageError
from meshnode.manage import paths
from meshnode.manage.networks import choose_network

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_MAX_SPAN = 86400.0
_CONSENT = "write the keys"


class Span(click.ParamType):  # type: ignore[type-arg]
    """Seconds, as `90`, `60s`, `5m` or `1h`."""

    name = "span"

    def convert(
        self,
        value: object,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        """Return the seconds that *value* means."""
        text = str(value)
        unit = text[-1:] if text[-1:] in _UNITS else "s"
        try:
            seconds = float(text.removesuffix(unit)) * _UNITS[unit]
        except ValueError:
            seconds = 0.0
        if not 0.0 < seconds <= _MAX_SPAN:
            self.fail(f"{text!r} is no span such as 60s, 5m or 1h", param, ctx)
        return seconds


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
@click.option("--duration", type=Span(), help="End after this time, as 30s or 5m.")
@click.option(
    "--ring",
    type=Span(),
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
    "puts them into the capture. Needs --underlay, and asks first.",
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
    duration: float | None,
    ring: float | None,
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
    if ring is not None and (file is None or file == "-"):
        raise UsageError("--ring needs a file to write to: add -w FILE")
    if as_json and file is not None:
        raise UsageError("give --json or -w, not both")
    if keylog is not None:
        _check_keylog(file, ring, underlay)
    text = " ".join(filter)
    if peer is not None:
        text = f"peer {peer}" + (f" and ({text})" if text else "")
    wanted = parse_filter(text)
    name = choose_network(network, directories.config)
    with open_tap(
        directories,
        name,
        wanted=wanted,
        underlay=underlay,
        snaplen=snaplen,
        keys=keylog is not None,
    ) as tap:
        sink: Sink
        if file is not None and keylog is not None:
            sink = KeyedSink(file, snaplen, keylog)
        elif file is None:
            sink = LineSink(as_json=as_json)
        elif ring is not None:
            sink = LastSink(file, snaplen, ring)
        else:
            sink = FileSink(file, snaplen)
        click.echo(f"capturing on {name}; Ctrl-C ends it", err=True)
        with sink:
            kept = _run(tap, sink, count=count, duration=duration)
    click.echo(
        f"{kept} packets captured, {tap.seen} seen, {tap.lost} dropped by the capture",
        err=True,
    )
    return 0


def _check_keylog(file: str | None, ring: float | None, underlay: bool) -> None:
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


def _run(tap: Tap, sink: Sink, *, count: int | None, duration: float | None) -> int:
    """Hand packets on until something ends it; return how many."""
    ends_at = float("inf") if duration is None else time.monotonic() + duration
    kept = 0
    with _signals() as signals:
        try:
            while True:
                # Looked at first, so what came before the end is read after it.
                is_over = signals.is_over or time.monotonic() >= ends_at
                packets = tap.read()
                sink.keys(tap.keys())
                if count is not None:
                    packets = packets[: count - kept]
                kept += len(packets)
                sink.lost(*tap.losses())
                sink.put(packets)
                if signals.is_asked:
                    signals.is_asked = False
                    sink.save()
                if is_over or kept == count:
                    break
                if not packets:
                    time.sleep(PAUSE)
        except BrokenPipeError:
            # Who read us has seen enough; Python need not complain of it at its end.
            sys.stdout = None
    return kept


class _Signals:
    """What signals asked for."""

    is_over = False
    is_asked = False

    def end(self, number: int, frame: FrameType | None) -> None:
        self.is_over = True

    def save(self, number: int, frame: FrameType | None) -> None:
        self.is_asked = True


@contextmanager
def _signals() -> Generator[_Signals, None, None]:
    """Let SIGINT and SIGTERM end the capture well, and SIGUSR1 save it."""
    signals = _Signals()
    handlers = {
        signal.SIGINT: signals.end,
        signal.SIGTERM: signals.end,
        signal.SIGUSR1: signals.save,
    }
    before = {one: signal.signal(one, handler) for one, handler in handlers.items()}
    try:
        yield signals
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
