"""How far the offloads of the kernel are used: what may be forced, how it can stand.

An offload lets one call, or one frame, carry many packets; most of the speed comes from
that. Kernels and network cards have had faults in each of them, so each can be limited:
by the data plane, when the kernel refuses what it offered, or by configuration. A key
is called the same in NET.toml, on the command line, in the log and in the status.
"""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Final

from meshnode.errors import ConfigError
from meshnode.values import frozen

UDP_SEGMENTATION: Final = "udp-segmentation"
UDP_COALESCING: Final = "udp-coalescing"
TUN_TCP: Final = "tun-tcp"
TUN_UDP: Final = "tun-udp"

AUTO: Final = "auto"
FULL: Final = "full"
WHOLE: Final = "whole"
READS: Final = "reads"
OFF: Final = "off"

CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    UDP_SEGMENTATION: (AUTO, WHOLE, OFF),
    UDP_COALESCING: (AUTO, OFF),
    TUN_TCP: (AUTO, OFF),
    TUN_UDP: (AUTO, OFF),
}
"""What each key can be set to."""

STATES: Final[Mapping[str, tuple[str, ...]]] = {
    UDP_SEGMENTATION: (FULL, WHOLE, OFF),
    UDP_COALESCING: (FULL, OFF),
    TUN_TCP: (FULL, READS, OFF),
    TUN_UDP: (FULL, READS, OFF),
}
"""How each can stand, from the most to nothing. With "reads" the device gives us frames
of many packets, and gets single ones."""


@frozen
class Offloads:
    """What is set for each key; "auto" is as much as the kernel does well.

    * `udp_segmentation`: many datagrams leave by one call (UDP_SEGMENT). With "whole"
      they are all of one size, and a shorter one leaves by itself.
    * `udp_coalescing`: received datagrams come many at once (UDP_GRO).
    * `tun_tcp`: frames of the TUN device hold many TCP segments (TSO), both ways.
    * `tun_udp`: the same of UDP datagrams (USO).
    """

    udp_segmentation: str = AUTO
    udp_coalescing: str = AUTO
    tun_tcp: str = AUTO
    tun_udp: str = AUTO

    @classmethod
    def of(cls, values: Mapping[str, str]) -> "Offloads":
        """Return what these keys are set to; a key left out is "auto"."""
        return cls(**{key.replace("-", "_"): value for key, value in values.items()})

    @classmethod
    def parse(cls, words: Iterable[str]) -> "Offloads":
        """Read `KEY=VALUE` words.

        Raises:
            ConfigError: naming the word and what is allowed.
        """
        values: dict[str, str] = {}
        for word in words:
            key, _, value = word.partition("=")
            if key not in CHOICES:
                known = ", ".join(CHOICES)
                raise ConfigError(f"offload {word!r}: write KEY=VALUE, KEY of {known}")
            if value not in CHOICES[key]:
                allowed = ", ".join(CHOICES[key])
                raise ConfigError(f"offload {word!r}: {key} is one of {allowed}")
            if key in values:
                raise ConfigError(f"offload {word!r}: {key} is there twice; leave one")
            values[key] = value
        return cls.of(values)

    def settings(self) -> dict[str, str]:
        """Return what each key is set to, by key."""
        return {
            field.name.replace("_", "-"): getattr(self, field.name)
            for field in fields(self)
        }

    def forced(self) -> list[str]:
        """Return what is not "auto", as `parse` reads it."""
        values = self.settings().items()
        return [f"{key}={value}" for key, value in values if value != AUTO]


UNFORCED: Final = Offloads()
"""All are as the kernel does them."""
