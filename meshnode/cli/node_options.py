"""The options that say what a node will be: of who founds a network, and who joins."""

import os
from collections.abc import Callable
from typing import Any

import click


def default_name() -> str:
    """Return this host's name as a member's name: the first label, in lower case."""
    return os.uname().nodename.partition(".")[0].lower()


_OPTIONS = (
    click.option(
        "--name",
        "node_name",
        default=default_name,
        envvar="MESHNODE_NAME",
        show_envvar=True,
        show_default="the host's name",
        help="This node's name.",
    ),
    click.option(
        "--listen-port",
        type=click.IntRange(0, 65535),
        default=51820,
        envvar="MESHNODE_LISTEN_PORT",
        show_envvar=True,
        show_default=True,
        help="UDP port, 0 for a random one.",
    ),
    click.option(
        "--interface",
        default=None,
        envvar="MESHNODE_INTERFACE",
        show_envvar=True,
        help="The interface's name; else the network's.",
    ),
    click.option(
        "--advertise",
        multiple=True,
        metavar="HOST:PORT",
        envvar="MESHNODE_ADVERTISE",
        show_envvar=True,
        help="Where others reach this node; repeatable. Its own addresses are known.",
    ),
    click.option(
        "--accept-routes",
        is_flag=True,
        envvar="MESHNODE_ACCEPT_ROUTES",
        show_envvar=True,
        help="Use the prefixes that others announce.",
    ),
)


def node_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add them, as node_name, listen_port, interface, advertise and accept_routes."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function
