"""The table `[exit]` of a network's configuration: who leaves by whom."""

from collections.abc import Callable, Sequence
from typing import Final

from meshnode.codec.names import check_label
from meshnode.errors import ConfigError
from meshnode.manage.config_values import ExitSettings
from meshnode.manage.toml_reader import Table, boolean, prefix, quote_all, text
from meshnode.types import Prefix

MAX_EXITS: Final = 8
"""In a list of them."""

MAX_LAN: Final = 64
"""Prefixes that stay outside of the tunnel."""


def read_exit(table: Table) -> ExitSettings:
    """Return what the table says; raises `ConfigError` naming key and remedy."""
    settings = ExitSettings(
        offer=table.get("offer", boolean, False),
        use=table.items("use", _member),
        lan=table.items("lan", prefix),
        kill_switch=table.get("kill_switch", boolean, True),
    )
    _check(settings, table.error)
    table.finish()
    return settings


def check_exit(
    *, use: Sequence[str], lan: Sequence[str], kill_switch: bool
) -> ExitSettings:
    """Return the settings that the words of a command name.

    Raises:
        ConfigError: naming what is wrong and the remedy.
    """

    def read(word: str, reader: Callable[[object], object]) -> object:
        try:
            return reader(word)
        except ConfigError as error:
            raise ConfigError(f"{word!r} {error}") from None

    settings = ExitSettings(
        use=tuple(str(read(word, _member)) for word in use),
        lan=tuple(p for word in lan if isinstance(p := read(word, prefix), Prefix)),
        kill_switch=kill_switch,
    )
    _check(settings, lambda key, problem: ConfigError(f"{key}: {problem}"))
    return settings


def exit_section(settings: ExitSettings) -> str:
    """Return the section as it stands in a file; what is as by default is left out."""
    lines = ["# Exits: who leaves by whom.", "[exit]"]
    if settings.offer:
        lines.append("offer = true")
    if settings.use:
        lines.append(f"use = {quote_all(settings.use)}")
    if settings.lan:
        lines.append(f"lan = {quote_all(settings.lan)}")
    if not settings.kill_switch:
        lines.append("kill_switch = false")
    return "\n".join(lines) + "\n"


def _check(settings: ExitSettings, error: Callable[[str, str], ConfigError]) -> None:
    if settings.offer and settings.use:
        # Two that used each other would pass packets to and fro.
        raise error("use", "is of no effect at an exit: set offer = false, or use = []")
    if len(set(settings.use)) < len(settings.use):
        raise error("use", "names an exit twice; leave one")
    if len(settings.use) > MAX_EXITS:
        raise error("use", f"has more than {MAX_EXITS} exits")
    if len(settings.lan) > MAX_LAN:
        raise error("lan", f"has more than {MAX_LAN} prefixes")
    if any(not prefix.length for prefix in settings.lan):
        raise error("lan", "would leave everything outside: meshnode exit off")


def _member(value: object) -> str:
    try:
        return check_label(text(value), "it")
    except ConfigError as error:
        raise ConfigError(f"is no member's name: {error}") from None
