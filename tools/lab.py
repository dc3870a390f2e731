"""Build a network of topology/*.toml in namespaces, and run real nodes in it.

    tools/lab run topology/three-sites.toml      everything, then all is removed
    tools/lab run --simulated topology/star.toml the same, simulated: no privileges
    tools/lab up topology/three-sites.toml       leave it running …
    tools/lab exec desk-a -- ping 192.168.2.2    … and look around in it
    tools/lab exec site-a -- meshnode status
    tools/lab rebind box-a                       a router's NAT forgets its mappings
    tools/lab blackhole box-a box-b              nothing passes from box-a to box-b …
    tools/lab heal box-a box-b                   … until now
    tools/lab down                               remove it

The machine's own network is not touched. docs/topologies.md tells how to write a file.
"""

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from topology import checks, drawing, kept, simulate
from topology.build import (
    begin_blackhole,
    build,
    end_blackhole,
    ignored,
    nat_router,
    shared_lans,
)
from topology.description import Description
from topology.hosts import Host, Lab
from topology.mesh import Mesh, environment
from topology.narrator import Narrator
from topology.parsing import load
from topology.processes import LabError
from topology.reading import DescriptionError


def main() -> int:
    """Do what the command line says; returns the exit status."""
    arguments = _arguments()
    commands: Mapping[str, Callable[[], int]] = {
        "up": lambda: _up(arguments.file),
        "run": lambda: _runner(arguments.simulated)(load(arguments.file)),
        "down": lambda: _down(arguments.file),
        "exec": lambda: _exec(arguments.file, arguments.node, arguments.command),
        "rebind": lambda: _rebind(arguments.file, arguments.router),
        "blackhole": lambda: _change(begin_blackhole, arguments),
        "heal": lambda: _change(end_blackhole, arguments),
        "list": _list,
        "check": lambda: _check(arguments.files),
        "draw": lambda: _draw(load(arguments.file), arguments.svg),
    }
    try:
        return commands[arguments.verb]()
    except (LabError, DescriptionError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted: everything made so far has been removed")
        return 130


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tools/lab",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, text: str) -> argparse.ArgumentParser:
        return verbs.add_parser(name, help=text, description=text)

    up = verb("up", "Build the network, start all nodes, and leave them running.")
    run = verb("run", "Build, play all steps, check what must hold, remove.")
    down = verb("down", "Remove what `up` made of FILE, or all of it.")
    inside = verb("exec", "Run a command in a node that is up.")
    rebind = verb("rebind", "Let a router's NAT forget all mappings.")
    blackhole = verb("blackhole", "Lose all that FROM sends to TO, and nothing else.")
    heal = verb("heal", "End that black hole.")
    verb("list", "List what is up.")
    check = verb("check", "Read files and say what is wrong with them.")
    draw = verb("draw", "Print a picture of the network.")
    for command in (up, run, draw):
        command.add_argument("file", type=Path, metavar="FILE")
    run.add_argument(
        "--simulated", action="store_true", help="in virtual time, without namespaces"
    )
    down.add_argument("file", type=Path, metavar="FILE", nargs="?")
    check.add_argument("files", type=Path, metavar="FILE", nargs="+")
    draw.add_argument("--svg", action="store_true", help="as an SVG document")
    for command in (inside, rebind, blackhole, heal):
        command.add_argument(
            "--file", type=Path, help="which network, if several are up"
        )
    rebind.add_argument("router", metavar="ROUTER")
    for command in (blackhole, heal):
        command.add_argument("sender", metavar="FROM")
        command.add_argument("receiver", metavar="TO")
    inside.add_argument("node", metavar="NODE")
    inside.add_argument("command", metavar="-- CMD", nargs="+")
    return parser.parse_args()


def _up(file: Path) -> int:
    description = load(file)
    narrator = Narrator()
    lab = kept.begin(file, description)
    with lab:
        checks.start(_build(lab, description, narrator), narrator)
        lab.keep()
    print(
        f"\nIt is up. Look around: tools/lab exec {description.nodes[0].name} -- bash"
    )
    print(f"Remove it: tools/lab down {file}")
    return 0


def _run(description: Description) -> int:
    narrator = Narrator()
    lab = Lab()
    with lab:
        mesh = _build(lab, description, narrator)
        checks.start(mesh, narrator)
        failed = checks.play(mesh, narrator)
        with narrator.step("all nodes stop"):
            mesh.stop_all()
    with narrator.step("everything is removed, nothing is left"):
        lab.assert_clean()
    return _tell(failed, description, narrator)


def _runner(simulated: bool) -> Callable[[Description], int]:
    return _simulate if simulated else _run


def _simulate(description: Description) -> int:
    narrator = Narrator()
    return _tell(simulate.play(description, narrator), description, narrator)


def _tell(failed: list[str], description: Description, narrator: Narrator) -> int:
    """Say how it went; return the exit status."""
    if failed:
        print(f"\nFailed, after {narrator.elapsed:.1f} s:")
        print("\n".join(f"  {failure}" for failure in failed))
        return 1
    count = len(description.musts)
    print(f"\nAll {count} that must hold did hold, in {narrator.elapsed:.1f} s.")
    return 0


def _build(lab: Lab, description: Description, narrator: Narrator) -> Mesh:
    if said := ignored(description):
        print(f" ! {said}")
    hosts, lans = len(description.nodes), len(description.lans)
    with narrator.step(f"in namespaces: hosts {hosts}, LANs {lans}"):
        return Mesh(build(lab, description))


def _down(file: Path | None) -> int:
    found = kept.everything() if file is None else kept.find(file)
    if file is not None and not found:
        raise LabError(f"{file} is not up: tools/lab list")
    for lab in found:
        lab.remove()
        print(f"removed: {lab.file}")
    return 0


def _exec(file: Path | None, node: str, command: list[str]) -> int:
    lab = _up_with(file, node)
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"
    variables = {**os.environ, **environment(lab.directory, node), "PATH": path}
    words = ["ip", "netns", "exec", lab.namespace(node), *command]
    os.execvpe(words[0], words, variables)


def _up_with(file: Path | None, node: str) -> kept.Kept:
    """Return the one network that is up and has this node."""
    up = kept.everything() if file is None else kept.find(file)
    found = [lab for lab in up if node in lab.nodes]
    if not found:
        raise LabError(f"no node {node!r} is up: tools/lab list")
    if len(found) > 1:
        files = ", ".join(str(lab.file) for lab in found)
        raise LabError(f"{node!r} is up more than once: give --file, one of {files}")
    return found[0]


def _rebind(file: Path | None, name: str) -> int:
    lab = _up_with(file, name)
    description = load(lab.file)
    place = description.node(name).nat
    if place is None:
        raise LabError(f"{name} has no NAT: tools/lab draw {lab.file} shows who has")
    nat_router(description, lab.host(name), place).rebind()
    return 0


def _change(
    change: Callable[[Description, Mapping[str, Host], str, str], None],
    arguments: argparse.Namespace,
) -> int:
    """Begin or end a black hole."""
    sender, receiver = arguments.sender, arguments.receiver
    lab = _up_with(arguments.file, sender)
    description = load(lab.file)
    if receiver not in lab.nodes or not shared_lans(description, sender, receiver):
        raise LabError(
            f"{sender} and {receiver} share no LAN: name nodes that do, "
            f"tools/lab draw {lab.file} shows them"
        )
    hosts = {name: lab.host(name) for name in lab.nodes}
    change(description, hosts, sender, receiver)
    return 0


def _list() -> int:
    for lab in kept.everything():
        print(f"{lab.file}: {', '.join(lab.nodes)}")
    return 0


def _check(files: list[Path]) -> int:
    status = 0
    for file in files:
        try:
            description = load(file)
        except DescriptionError as error:
            print(error, file=sys.stderr)
            status = 1
            continue
        counts = (
            f"nodes {len(description.nodes)}, LANs {len(description.lans)}, "
            f"steps {len(description.steps)}, musts {len(description.musts)}"
        )
        print(f"{file}: good: {counts}")
    return status


def _draw(description: Description, svg: bool) -> int:
    print(drawing.as_svg(description) if svg else drawing.as_text(description))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
