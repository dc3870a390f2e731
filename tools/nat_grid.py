"""Let real nodes behind every pair of NATs get together, in namespaces, and say how.

    tools/nat-grid                              all 121 ordered pairs, once
    tools/nat-grid --pairs "apdf,sym;sym,apdf"  these, the first of a pair begins
    tools/nat-grid --rounds 3 --json            again and again, a JSON object a pair
    tools/nat-grid --markdown docs/nat-grid.md  the tables for people

A number is milliseconds until the direct path carries the data; R: by a relay, T: by
a relay over TLS, -: not at all. Names of NATs:
open fullcone adf apdf apdf-acc apdf-np sym-seq sym-blk sym sym-acc blocked

The machine's own network is not touched, and Ctrl-C removes everything. Exit status:
0 if all pairs were connected, and directly where their NATs allow it; else 1.
"""

import argparse
import json
import sys
from pathlib import Path

from meshnode.errors import ConfigError
from meshnode.simulation.grid_cells import (
    Cell,
    Way,
    as_json,
    as_markdown,
    as_text,
    parse_pairs,
    summary,
)
from meshnode.simulation.nat_kinds import NatKind
from topology.hosts import Lab
from topology.nat_grid import running
from topology.nat_grid_plan import hosts_of, rounds
from topology.processes import LabError

_OF_A_KIND = 3


def main() -> int:
    """Play the pairs, print the table, and return the exit status."""
    arguments = _arguments()
    try:
        cells = _play(arguments.pairs, arguments)
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted: everything made has been removed", file=sys.stderr)
        return 130
    out = sys.stderr if arguments.json else sys.stdout
    print(f"\n{as_text(cells)}\n{summary(cells)}", file=out)
    if arguments.markdown:
        arguments.markdown.write_text(_document(cells))
    bad = [cell for cell in cells if not _is_good(cell)]
    return 1 if bad else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tools/nat-grid",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--pairs", default="", help='"apdf,sym;open,adf"; all')
    parser.add_argument("--rounds", type=int, default=1, help="how often (1)")
    parser.add_argument("--at-once", type=int, default=4, help="pairs at a time (4)")
    parser.add_argument("--json", action="store_true", help="one JSON object a pair")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write tables")
    arguments = parser.parse_args()
    try:
        arguments.pairs = parse_pairs(arguments.pairs)
    except ConfigError as error:
        parser.error(str(error))
    if min(arguments.rounds, arguments.at_once) < 1:
        parser.error("--rounds and --at-once are 1 or more")
    return arguments


def _play(
    pairs: tuple[tuple[NatKind, NatKind], ...], arguments: argparse.Namespace
) -> list[Cell]:
    kinds = dict.fromkeys(kind for pair in pairs for kind in pair)
    hosts = hosts_of(kinds, _OF_A_KIND)
    cells: list[Cell] = []
    for number in range(arguments.rounds):
        # A mesh for each round: pairs are strangers only once.
        said = f"round {number + 1}: {sum(map(len, hosts.values()))} members settle"
        print(said, file=sys.stderr, flush=True)
        lab = Lab()
        with lab, running(lab, hosts) as grid:
            for some in rounds(pairs, arguments.at_once):
                for cell in grid.play(some):
                    cells.append(cell)
                    _tell(cell, as_object=arguments.json)
    return cells


def _tell(cell: Cell, *, as_object: bool) -> None:
    facts = as_json(cell)
    if as_object:
        print(json.dumps(facts), flush=True)
        return
    print(
        f"{facts['from']:>9} → {facts['to']:9} {facts['path']:8} "
        f"answered {facts['answered_ms']} ms, direct {facts['direct_ms']} ms, "
        f"round trip {facts['rtt_ms']} ms",
        flush=True,
    )


def _is_good(cell: Cell) -> bool:
    is_direct = cell.way is Way.DIRECT
    return cell.is_connected and (is_direct or not cell.can_be_direct)


def _document(cells: list[Cell]) -> str:
    return (
        "# The grid of NATs\n\n"
        "Real nodes in namespaces, as `tools/nat-grid --markdown docs/nat-grid.md` "
        "wrote it.\n40 ms round trip between the two of a pair, 40 ms one way by a "
        "relay; NATs as in\n`meshnode/simulation/nat_kinds.py`. One run a pair.\n\n"
        f"{summary(cells)}.\n\n{as_markdown(cells)}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
