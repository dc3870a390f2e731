"""`meshnode ping`: ask a member through the tunnel whether it is there."""

import time
from typing import Any

import click

from meshnode.cli.help import EXIT_CODES, examples
from meshnode.cli.options import directory_options, json_option, network_option
from meshnode.cli.output import print_json
from meshnode.manage import paths
from meshnode.manage.networks import choose_network

_NO_ANSWER = 4
_EACH = 2.0
"""Seconds that an answer is waited for until the path is direct."""

_PAUSE = 0.2


@click.command(
    epilog=examples(
        "meshnode ping paris",
        "meshnode ping -c 3 10.77.0.2",
        "meshnode ping paris --until-direct --timeout 30",
    )
    + f"\n\n{EXIT_CODES}",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.argument("peer")
@click.option(
    "-c", "--count", type=click.IntRange(1, 10_000), default=1, show_default=True
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 60.0),
    default=10.0,
    show_default=True,
    help="Seconds to wait for each answer; with --until-direct, for a direct path.",
)
@click.option(
    "--until-direct",
    is_flag=True,
    help="Ask until no relay is on the way, and say each path that was taken.",
)
@network_option
@directory_options
@json_option
def ping(
    peer: str,
    count: int,
    timeout: float,
    until_direct: bool,
    network: str | None,
    directories: paths.Directories,
    as_json: bool,
) -> int:
    """Ask PEER, a member's name or overlay address, through the tunnel.

    The answer tells the round trip and the path. Exit code 4 means no answer, and with
    --until-direct that the path did not become direct in time.
    """
    name = choose_network(network, directories.config)
    if until_direct:
        return _ping_until_direct(directories, name, peer, timeout, as_json)
    answers = []
    for number in range(count):
        if number:
            time.sleep(1.0)
        answer = _ask(directories, name, peer, timeout)
        answers.append(answer)
        if not as_json:
            click.echo(_line(answer, timeout))
    if as_json:
        print_json({"answers": answers})
    return 0 if any(one["seconds"] is not None for one in answers) else _NO_ANSWER


def _ping_until_direct(
    directories: paths.Directories, name: str, peer: str, timeout: float, as_json: bool
) -> int:
    """Ask until the path is direct; tell the first answer by each path."""
    ends_at = time.monotonic() + timeout
    answers: list[dict[str, Any]] = []
    is_direct = False
    while not is_direct and (left := ends_at - time.monotonic()) > 0:
        answer = _ask(directories, name, peer, min(max(left, 0.1), _EACH))
        is_direct = answer["seconds"] is not None and _is_direct(answer["path"])
        if not answers or _way(answer) != _way(answers[-1]):
            answers.append(answer)
            if not as_json:
                click.echo(_line(answer, _EACH))
        if not is_direct:
            time.sleep(_PAUSE)
    if as_json:
        print_json({"answers": answers, "isDirect": is_direct})
    elif not is_direct:
        click.echo(f"not direct within {timeout:g} s", err=True)
    return 0 if is_direct else _NO_ANSWER


def _ask(
    directories: paths.Directories, name: str, peer: str, timeout: float
) -> dict[str, Any]:
    from meshnode.manage.api_client import call

    wait = timeout + 5
    return call(
        directories, name, "ping", reply_timeout=wait, peer=peer, timeout=timeout
    )


def _is_direct(path: dict[str, Any]) -> bool:
    return path["kind"] in ("direct", "lan")


def _way(answer: dict[str, Any]) -> tuple[object, ...]:
    """Return what tells one path from another, and an answer from none."""
    path = answer["path"]
    return answer["seconds"] is None, path["kind"], path["endpoint"], *path["via"]


def _line(answer: dict[str, Any], timeout: float) -> str:
    if answer["seconds"] is None:
        return f"no answer from {answer['name']} within {timeout:g} s"
    path = answer["path"]
    place = path["endpoint"] or ", ".join(path["via"]) or "a relay"
    return (
        f"pong from {answer['name']} ({answer['ipv4']}) via {place} "
        f"({path['kind']}) in {answer['seconds'] * 1000:.1f} ms"
    )
