"""`meshnode cleanup`: undo the host changes of a node that was killed."""

import click

from meshnode.cli.help import examples
from meshnode.cli.options import directory_options, json_option
from meshnode.cli.output import print_json
from meshnode.manage import paths


@click.command(epilog=examples("meshnode cleanup"))
@directory_options
@json_option
def cleanup(directories: paths.Directories, as_json: bool) -> None:
    """Undo what a killed node left on this host.

    A node writes every change it makes to the host into a journal first, and undoes
    it when it ends. After a kill -9 or a crash this undoes what is left, and tells
    what it did. It leaves the changes of nodes that are running alone, and the kill
    switch of a network whose configuration wants one: "meshnode exit off" lifts that.
    """
    # Netlink takes long to import, and is needed here only.
    from meshnode.node.cleanup import clean_up

    undone = clean_up(directories)
    if as_json:
        print_json({"undone": undone})
        return
    for line in undone:
        click.echo(line)
