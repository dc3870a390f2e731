"""`meshnode service`: the systemd unit."""

import click

from meshnode.cli.help import examples
from meshnode.cli.options import json_option
from meshnode.cli.output import print_json

UNIT = "meshnode@.service"


@click.command(
    epilog=examples(
        f"meshnode service > /etc/systemd/system/{UNIT}",
        "systemctl daemon-reload && systemctl enable --now meshnode@home",
    ),
    context_settings={"help_option_names": ["-h", "--help"]},
)
@json_option
def service(as_json: bool) -> None:
    """Print the unit that runs a network's node under systemd."""
    from importlib.resources import files

    text = files("meshnode").joinpath("data", UNIT).read_text(encoding="utf-8")
    if as_json:
        print_json({"name": UNIT, "text": text})
    else:
        click.echo(text, nl=False)
