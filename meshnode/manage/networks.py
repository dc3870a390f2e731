"""Which networks this host knows, and which one a command means."""

from pathlib import Path

from meshnode.errors import ConfigError, MeshnodeError, UsageError

_SUFFIX = ".toml"


class NoSuchNetworkError(MeshnodeError):
    """This host is not in such a network."""

    exit_code = 3


def known_networks(config_dir: Path) -> list[str]:
    """Return the names of the networks configured in *config_dir*, sorted.

    Raises:
        ConfigError: if the directory cannot be read.
    """
    try:
        found = [path.stem for path in config_dir.glob(f"*{_SUFFIX}")]
    except OSError as error:
        raise ConfigError(f"cannot read {config_dir}: {error.strerror}") from error
    return sorted(found)


def choose_network(name: str | None, config_dir: Path) -> str:
    """Return the network a command means: *name*, or the only one there is.

    Raises:
        NoSuchNetworkError: if it is not configured here, or none is.
        UsageError: if there are several and none was named.
    """
    known = known_networks(config_dir)
    if name is not None:
        if name in known:
            return name
        others = f" (known here: {', '.join(known)})" if known else ""
        raise NoSuchNetworkError(f"no network {name!r} on this host{others}")
    if not known:
        raise NoSuchNetworkError(
            "this host is in no network yet: meshnode network create, or meshnode join"
        )
    if len(known) > 1:
        raise UsageError(f"name the network with -n: {', '.join(known)}")
    return known[0]
