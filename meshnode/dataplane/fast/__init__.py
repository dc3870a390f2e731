"""The fast engine: the reference's halves, with compiled ways for the usual packets.

`sending` and `receiving` handle batches without Python; whatever is out of the ordinary
goes through the reference's halves, which share sessions with them.
"""

from meshnode.dataplane.fast.egress import FastEgress
from meshnode.dataplane.fast.ingress import FastIngress
from meshnode.dataplane.interface import WorkerResources


class FastFactory:
    """Makes the two workers of this engine; an `interface.EngineFactory`."""

    def egress(self, resources: WorkerResources) -> FastEgress:
        """Return the sending direction."""
        return FastEgress(resources)

    def ingress(self, resources: WorkerResources) -> FastIngress:
        """Return the receiving direction."""
        return FastIngress(resources)
