"""Measure meshnode beside other tunnels, in the same run on the same machine.

Two hosts in network namespaces, one veth link, nothing else. Every round measures every
row, so that a busy moment of the machine hits all of them; shown is the median of all
rounds with the least and the greatest in brackets.

    tools/bench                                    the usual sections, under 25 minutes
    tools/bench --section all --plot bench.png     everything, with a picture
    tools/bench --section hub --peers 10000
    tools/bench --section overload --only fast --only tinc --quick
    tools/bench --from bench.json --markdown       show it again, measure nothing
"""

import argparse
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from topology.bench import run
from topology.bench.hub import MOST_PEERS
from topology.bench.plan import Plan
from topology.bench.results import Report, ResultError, parse
from topology.bench.rows import ROWS
from topology.bench.sections import SECTIONS, SLOW, Settings
from topology.bench.text import markdown, table
from topology.processes import LabError

PEERS = (10, 100, 1000)
USUAL = tuple(name for name in SECTIONS if name not in SLOW)


def main() -> int:
    """Do what the command line says; returns 1 if anything could not be measured."""
    options = _options()
    try:
        report = _saved(options.saved) if options.saved else _measured(options)
        print(markdown(report) if options.markdown else table(report))
        if options.plot:
            _plot(report, options.plot)
    except (ResultError, LabError) as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted: everything made so far has been removed", file=sys.stderr)
        return 130
    for failure in report.failures:
        print(failure, file=sys.stderr)
    return 1 if report.failures else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tools/bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--section",
        action="append",
        choices=(*SECTIONS, "all"),
        help=f"may be repeated; default: all but {', '.join(SLOW)}, which take long",
    )
    add(
        "--only",
        action="append",
        choices=ROWS,
        help="this row; may be repeated; default: those that each section is about",
    )
    add("--rounds", type=_at_least_one, default=5, help="default: 5")
    add(
        "--seconds",
        type=_at_least_one,
        default=3,
        help="of each measurement; default: 3",
    )
    add("--quick", action="store_true", help="one round of 1 second")
    add(
        "--peers",
        action="append",
        type=_peers,
        help=f"of a hub; may be repeated; default: {', '.join(map(str, PEERS))}",
    )
    add("--json", type=Path, metavar="FILE", help="where to write the figures")
    add("--markdown", action="store_true", help="print a table for a document")
    add("--plot", type=_picture, metavar="FILE.png", help="draw the figures")
    add(
        "--from",
        dest="saved",
        type=Path,
        metavar="FILE",
        help="show these figures, as --json wrote them, and measure nothing",
    )
    return parser.parse_args()


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def _peers(text: str) -> int:
    number = _at_least_one(text)
    if number > MOST_PEERS:
        raise argparse.ArgumentTypeError(f"a hub has at most {MOST_PEERS} peers")
    return number


def _picture(text: str) -> Path:
    path = Path(text)
    if path.suffix != ".png":
        raise argparse.ArgumentTypeError(f"{text!r} does not end in .png")
    return path


def _saved(path: Path) -> Report:
    try:
        return parse(path.read_text())
    except ResultError as error:
        raise ResultError(f"{path}: {error}") from None


def _measured(options: argparse.Namespace) -> Report:
    sections = options.section or USUAL
    plan = Plan(
        sections=SECTIONS if "all" in sections else tuple(dict.fromkeys(sections)),
        rows=tuple(options.only or ()),
        rounds=1 if options.quick else options.rounds,
        settings=Settings(
            1 if options.quick else options.seconds,
            tuple(sorted(set(options.peers or PEERS))),
        ),
    )
    if not plan.rows_of_any(plan.sections):
        raise LabError("no row that --only names has these sections: add another")
    path = options.json or _default_path()
    # Before the measurements, not after them.
    path.parent.mkdir(parents=True, exist_ok=True)
    minutes = max(1, round(plan.estimate / 60))
    _say(f"this takes about {minutes} min; after each round {path} has its figures")
    report = run.run(plan, _say, lambda report: _write(path, report))
    _write(path, report)
    _say(f"written to {path}")
    return report


def _write(path: Path, report: Report) -> None:
    path.write_text(report.to_json())


def _default_path() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home, "meshnode", f"bench-{datetime.now(UTC):%Y%m%d-%H%M%S}.json")


def _plot(report: Report, path: Path) -> None:
    # Takes a second to import, and only those who ask for a picture need it.
    from topology.bench.plot import draw

    path.write_bytes(draw(report))
    _say(f"drawn to {path}")


def _say(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
