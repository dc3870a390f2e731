"""Let the three ways into a mesh do the same work, and other proxies beside them.

Two members of a mesh in network namespaces of this machine. The right one serves files
and echoes datagrams. On the left one a client reaches it by the tunnel, and through
proxies that all run there: meshnode's for SOCKS and HTTP, microsocks, dante, tinyproxy.
Every round lets every way do everything.

    tools/compare                                   six ways, about five minutes
    tools/compare --only tun --only socks --quick
    tools/compare --markdown --plot ways.png
"""

import argparse
import sys
from pathlib import Path

from topology.compare.run import compare
from topology.compare.text import markdown, table
from topology.compare.ways import all_ways
from topology.processes import LabError


def main() -> int:
    """Do what the command line says; returns 1 if anything could not be measured."""
    options = _options()
    try:
        ways = all_ways()
        chosen = [ways[name] for name in ways if name in (options.only or ways)]
        rounds, seconds = (1, 1) if options.quick else (options.rounds, options.seconds)
        found = compare(chosen, rounds=rounds, seconds=seconds, say=_say)
        print(markdown(found) if options.markdown else table(found))
        if options.plot:
            # Takes a second to import, and only those who ask for a picture need it.
            from topology.bench.plot import draw

            options.plot.write_bytes(draw(found.report))
            _say(f"drawn to {options.plot}")
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted: everything made so far has been removed", file=sys.stderr)
        return 130
    for failure in found.report.failures:
        print(failure, file=sys.stderr)
    return 1 if found.report.failures else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tools/compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = ("tun", "socks", "http", "microsocks", "dante", "tinyproxy")
    add = parser.add_argument
    add("--only", action="append", choices=names, help="this way; may be repeated")
    add("--rounds", type=_at_least_one, default=5, help="default: 5")
    add("--seconds", type=_at_least_one, default=3, help="of each work; default: 3")
    add("--quick", action="store_true", help="one round of 1 second")
    add("--markdown", action="store_true", help="print a table for a document")
    add("--plot", type=Path, metavar="FILE.png", help="draw the figures")
    return parser.parse_args()


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def _say(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
