"""`meshnode metrics`: what Prometheus reads, on standard output."""

import click

from meshnode.cli.ask import ask
from meshnode.cli.help import EXIT_CODES, examples
from meshnode.cli.options import directory_options, json_option, network_argument
from meshnode.cli.output import print_json
from meshnode.manage import paths


@click.command(
    epilog=examples(
        "meshnode metrics",
        "meshnode metrics home > /var/lib/node_exporter/meshnode.prom",
    )
    + f"\n\n{EXIT_CODES}",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@network_argument
@directory_options
@json_option
def metrics(network: str | None, directories: paths.Directories, as_json: bool) -> None:
    """Print the metrics of the node of NET in the text format of Prometheus.

    With --json they are one string in an object. To have them served, set listen
    under [metrics] in the configuration.
    """
    text = ask(network, directories, "metrics")["text"]
    if as_json:
        print_json({"text": text})
    else:
        click.echo(text, nl=False)
