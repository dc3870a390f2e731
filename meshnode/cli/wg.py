"""`meshnode wg` and its alias `meshnode-wg`: run one WireGuard interface.

The alias takes the place of wireguard-go under wg-quick, and so knows its options
and environment: `LOG_LEVEL` and `WG_PROCESS_FOREGROUND`.
"""

import os
import sys

import click

from meshnode import __version__
from meshnode.cli.help import EXIT_CODES, examples
from meshnode.cli.options import directory_options
from meshnode.cli.run import run
from meshnode.forwarding import MAX_WORKERS
from meshnode.manage import paths
from meshnode.offloads import CHOICES, Offloads

ENGINES = ("reference", "fast")
LOG_LEVELS = ("debug", "info", "warning", "error", "silent")

_DEFAULT_LOG_LEVEL = "info"
_WIREGUARD_GO_LEVELS = {
    "verbose": "debug",
    "debug": "debug",
    "error": "error",
    "silent": "silent",
}
_OFFLOAD_HELP = "; ".join(f"{key}: {', '.join(CHOICES[key])}" for key in CHOICES)
_EXAMPLES = examples(
    "meshnode wg wg0",
    "meshnode wg wg0 --offload udp-segmentation=off",
    "meshnode wg wg0 --engine fast --workers 4",
    "WG_QUICK_USERSPACE_IMPLEMENTATION=meshnode-wg wg-quick up wg0",
)


def _default_log_level() -> str:
    # Lenient: other programs use this variable too, with levels of their own.
    level = os.environ.get("LOG_LEVEL", "").lower()
    return _WIREGUARD_GO_LEVELS.get(level, _DEFAULT_LOG_LEVEL)


@click.command(
    epilog=f"{_EXAMPLES}\n\n{EXIT_CODES}",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.argument("interface", metavar="IFACE")
@click.option(
    "--foreground",
    "-f",
    is_flag=True,
    envvar=["MESHNODE_FOREGROUND", "WG_PROCESS_FOREGROUND"],
    show_envvar=True,
    help="Stay in the foreground.",
)
@click.option(
    "--engine",
    type=click.Choice(ENGINES),
    default=ENGINES[0],
    envvar="MESHNODE_ENGINE",
    show_default=True,
    show_envvar=True,
    help="What carries the packets.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, MAX_WORKERS),
    metavar="N",
    default=1,
    envvar="MESHNODE_WORKERS",
    show_default=True,
    show_envvar=True,
    help="Processes for each direction, up to 16; more than one with --engine fast.",
)
@click.option(
    "--log-level",
    type=click.Choice(LOG_LEVELS),
    default=_default_log_level,
    envvar="MESHNODE_LOG_LEVEL",
    show_default=_DEFAULT_LOG_LEVEL,
    show_envvar=True,
    help="The least that is logged; LOG_LEVEL works as for wireguard-go.",
)
@click.option(
    "--offload",
    "offloads",
    metavar="KEY=VALUE",
    multiple=True,
    envvar="MESHNODE_OFFLOAD",
    show_envvar=True,
    help="Limit an offload of the kernel, where it does harm; repeatable. "
    f"{_OFFLOAD_HELP}.",
)
@directory_options
@click.version_option(__version__, prog_name="meshnode")
def wg(
    interface: str,
    foreground: bool,
    engine: str,
    workers: int,
    log_level: str,
    offloads: tuple[str, ...],
    directories: paths.Directories,
) -> int:
    """Run the WireGuard interface IFACE until it is told to stop.

    Returns to the shell once the interface can be set up with "wg" and "ip". It ends
    at SIGTERM or SIGINT, or when the interface or its socket is removed.
    """
    name = paths.check_interface_name(interface)
    limits = Offloads.parse(offloads)
    # Sockets, netlink and the rest take long to import; --help does without.
    from meshnode.node import supervisor
    from meshnode.node.launch import Settings
    from meshnode.node.resources import Opening

    return supervisor.run_interface(
        name,
        foreground=foreground,
        settings=Settings(engine, log_level, directories, offloads=limits),
        opening=Opening(workers=workers),
    )


def main() -> None:
    """Run `meshnode-wg` on the process's arguments."""
    sys.exit(run(wg, "meshnode-wg"))
