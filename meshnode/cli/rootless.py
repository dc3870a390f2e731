"""Options of commands that start a node without privileges."""

import functools
from collections.abc import Callable
from typing import Any

import click

from meshnode.errors import UsageError


def rootless_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add them, as the argument *rootless*: a `node.resources.Rootless`, or None."""

    @click.option(
        "--rootless",
        "is_rootless",
        is_flag=True,
        envvar="MESHNODE_ROOTLESS",
        show_envvar=True,
        help="Use no privilege: the mesh is in a network of its own, where meshnode "
        "run puts commands.",
    )
    @click.option(
        "--forward",
        multiple=True,
        metavar="tcp|udp:[ADDRESS:]PORT:[ADDRESS:]PORT",
        help="Let this port of the host (127.0.0.1 unless said) lead to an address "
        "and port in the mesh's network; repeatable, with --rootless.",
    )
    @click.option(
        "--publish",
        multiple=True,
        metavar="tcp|udp:[ADDRESS:]PORT:[ADDRESS:]PORT",
        help="Let this port of the node in the mesh lead to a port of the host "
        "(127.0.0.1 unless said); repeatable, with --rootless.",
    )
    @functools.wraps(function)
    def with_rootless(
        *args: Any,
        is_rootless: bool,
        forward: tuple[str, ...],
        publish: tuple[str, ...],
        **kwargs: Any,
    ) -> Any:
        rootless = _rootless(is_rootless, forward, publish)
        return function(*args, rootless=rootless, **kwargs)

    return with_rootless


def _rootless(
    is_rootless: bool, forward: tuple[str, ...], publish: tuple[str, ...]
) -> Any:
    if not is_rootless:
        if forward or publish:
            raise UsageError(
                "--forward and --publish are for --rootless: any other node is in "
                "the network of its host"
            )
        return None
    # Late: --help does without what a node is made of.
    from meshnode.node.resources import rootless

    return rootless(forward, publish)
