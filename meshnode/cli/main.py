"""The command `meshnode`."""

import sys

import click

from meshnode import __version__
from meshnode.cli.help import EXIT_CODES
from meshnode.cli.lazy import LazyCommand, LazyGroup
from meshnode.cli.run import run

_COMMANDS = {
    "network": LazyCommand(
        "meshnode.cli.network", "network", "Found a network, or list them."
    ),
    "invite": LazyCommand("meshnode.cli.invite", "invite", "Let somebody in."),
    "join": LazyCommand("meshnode.cli.join", "join", "Join a network."),
    "up": LazyCommand("meshnode.cli.up", "up", "Start a node."),
    "down": LazyCommand("meshnode.cli.up", "down", "Stop a node."),
    "restart": LazyCommand("meshnode.cli.up", "restart", "Stop a node and start it."),
    "reload": LazyCommand(
        "meshnode.cli.up", "reload", "Let a node read its configuration again."
    ),
    "run": LazyCommand(
        "meshnode.cli.inside", "run", "Run a command in the mesh, without privileges."
    ),
    "status": LazyCommand("meshnode.cli.show", "status", "Show how a node is."),
    "peers": LazyCommand("meshnode.cli.show", "peers", "List the members."),
    "routes": LazyCommand(
        "meshnode.cli.show", "routes", "List the prefixes behind members."
    ),
    "ping": LazyCommand(
        "meshnode.cli.ping", "ping", "Ask a member through the tunnel."
    ),
    "wait": LazyCommand("meshnode.cli.wait", "wait", "Wait until something is so."),
    "watch": LazyCommand("meshnode.cli.wait", "watch", "Print what happens."),
    "steer": LazyCommand(
        "meshnode.cli.steer", "steer", "Show which traffic goes which way."
    ),
    "trace": LazyCommand(
        "meshnode.cli.trace", "trace", "Tell what becomes of a packet."
    ),
    "why": LazyCommand(
        "meshnode.cli.why", "why", "Tell how a member is reached, and why."
    ),
    "netcheck": LazyCommand(
        "meshnode.cli.netcheck", "netcheck", "Tell what this host's network allows."
    ),
    "capture": LazyCommand(
        "meshnode.cli.capture", "capture", "Record packets, and what became of them."
    ),
    "flows": LazyCommand(
        "meshnode.cli.flows", "flows", "Show who talks to whom, and how much."
    ),
    "proxy": LazyCommand(
        "meshnode.cli.proxy", "proxy", "Serve SOCKS and HTTP to applications."
    ),
    "route": LazyCommand("meshnode.cli.route", "route", "Announce prefixes of a LAN."),
    "exit": LazyCommand(
        "meshnode.cli.exit", "exit_group", "Leave by another member, or offer to."
    ),
    "dns": LazyCommand("meshnode.cli.dns", "dns", "Look members up by name."),
    "cert": LazyCommand(
        "meshnode.cli.cert", "cert", "Ask for, issue, show and revoke certificates."
    ),
    "issuer": LazyCommand(
        "meshnode.cli.issuer", "issuer", "Let other nodes issue certificates."
    ),
    "policy": LazyCommand("meshnode.cli.policy", "policy", "Say who may talk to whom."),
    "peer": LazyCommand(
        "meshnode.cli.peer", "peer", "Let in devices that run no meshnode."
    ),
    "import": LazyCommand(
        "meshnode.cli.import_wg", "import_wg", "Take over peers of a wg-quick file."
    ),
    "metrics": LazyCommand(
        "meshnode.cli.metrics", "metrics", "Print the metrics for Prometheus."
    ),
    "service": LazyCommand(
        "meshnode.cli.service", "service", "Print the unit for systemd."
    ),
    "wg": LazyCommand("meshnode.cli.wg", "wg", "Run one WireGuard interface."),
    "key": LazyCommand("meshnode.cli.key", "key", "Make and keep keys."),
    "genkey": LazyCommand(
        "meshnode.cli.wg_keys", "genkey", "Print a new private key, as wg does."
    ),
    "pubkey": LazyCommand(
        "meshnode.cli.wg_keys", "pubkey", "Print the public key of a private key."
    ),
    "genpsk": LazyCommand(
        "meshnode.cli.wg_keys", "genpsk", "Print a new preshared key, as wg does."
    ),
    "cleanup": LazyCommand(
        "meshnode.cli.cleanup", "cleanup", "Undo what a killed node left on this host."
    ),
    "completion": LazyCommand(
        "meshnode.cli.completion", "completion", "Print a shell's completion script."
    ),
}


@click.group(
    cls=LazyGroup,
    lazy_commands=_COMMANDS,
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="meshnode")
def cli() -> None:
    """A mesh VPN node that speaks WireGuard.

    Settings come from options or from environment variables MESHNODE_*; a command's
    --help names both. MESHNODE_DEBUG=1 shows the trace of an error.
    """


def main() -> None:
    """Run `meshnode` on the process's arguments."""
    sys.exit(run(cli, "meshnode"))
