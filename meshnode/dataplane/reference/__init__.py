"""The reference engine: plain Python and PyNaCl; readable, portable, the oracle.

`seal` and `open` are pure; `egress` and `ingress` are their pumps over descriptors.
"""

from meshnode.dataplane.interface import WorkerResources
from meshnode.dataplane.reference.egress import ReferenceEgress
from meshnode.dataplane.reference.ingress import ReferenceIngress


class ReferenceFactory:
    """Makes the two workers of this engine; an `interface.EngineFactory`."""

    def egress(self, resources: WorkerResources) -> ReferenceEgress:
        """Return the sending direction."""
        return ReferenceEgress(resources)

    def ingress(self, resources: WorkerResources) -> ReferenceIngress:
        """Return the receiving direction."""
        return ReferenceIngress(resources)
