"""`meshnode ping`: ask a member through the tunnel whether it is there."""

import time

import click

from meshnode.cli.help import EXIT_CODES, examples
from meshnode.cli.options import directory_options, json_option, network_option
from meshnode.cli.output import print_json
from meshnode.manage import paths
from meshnode.manage.networks import choose_network

_NO_ANSWER = 4


@click.command(
    epilog=f"{examples('meshnode ping paris', 'meshnode ping -c 3 10.77.0.2')}\n\n"
    f"{EXIT_CODES}",
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
    help="Seconds to wait for each answer.",
)
@network_option
@directory_options
@json_option
def ping(
    peer: str,
    count: int,
    timeout: float,
    network: str | None,
    directories: paths.Directories,
    as_json: bool,
) -> int:
    """Ask PEER, a member's name or overlay address, through the tunnel.

    The answer tells the round trip and the path. Exit code 4 means no answer.
    """
    from meshnode.manage.api_client import call

    name = choose_network(network, directories.config)
    answers = []
    for number in range(count):
        if number:
            time.sleep(1.0)
        answer = call(
            directories,
            name,
            "ping",
            reply_timeout=timeout + 5,
            peer=peer,
            timeout=timeout,
        )
        answers.append(answer)
        if as_json:
            continue
        if answer["seconds"] is None:
            click.echo(f"no answer from {answer['name']} within {timeout:g} s")
        else:
            milliseconds = answer["seconds"] * 1000
            click.echo(
                f"pong from {answer['name']} ({answer['ipv4']}) via "
                f"{answer['endpoint']} in {milliseconds:.1f} ms"
            )
    if as_json:
        print_json({"answers": answers})
    return 0 if any(one["seconds"] is not None for one in answers) else _NO_ANSWER
