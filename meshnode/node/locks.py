"""Whether the kill switch of a network stands, and its end; no node is needed."""

from meshnode.errors import HostError
from meshnode.host.lock import has_lock, lift_lock


def is_locked(network: str) -> bool:
    """Whether the kill switch of *network* stands, as far as we may know.

    Without nft there can be none, and without privileges none can be seen.
    """
    try:
        return has_lock(network)
    except HostError:
        return False


def lift(network: str) -> bool:
    """Take the kill switch of *network* away; False if there was none.

    Raises:
        HostError: if it is there and the kernel refuses.
        PrivilegeError: without CAP_NET_ADMIN.
    """
    return lift_lock(network)
