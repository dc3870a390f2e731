"""The state store against a model: dictionaries, and what a restart does to them."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from meshnode.manage.state import StateStore
from meshnode.mesh.ports import (
    DropInvite,
    DropRecord,
    KeepCharter,
    KeepEndpoints,
    KeepInvite,
    KeepIssued,
    KeepOwn,
    KeepPolicy,
    KeepRecord,
    KeepWallMark,
    StateChange,
    StoredState,
)
from meshnode.types import Endpoint

keys = st.integers(0, 3).map(lambda number: bytes([number]) * 8)
data = st.binary(max_size=20)
versions = st.integers(0, 2**63 - 1)
endpoints = st.lists(
    st.builds(Endpoint, st.ip_addresses().map(str), st.integers(1, 65535))
    | st.builds(
        Endpoint, st.just("fe80::1"), st.integers(1, 65535), st.integers(0, 2**32 - 1)
    ),
    max_size=3,
).map(tuple)
changes = st.one_of(
    st.builds(KeepRecord, keys, st.integers(1, 7), data),
    st.builds(DropRecord, keys),
    st.builds(KeepCharter, st.integers(1, 4), data),
    st.builds(KeepPolicy, versions, data),
    st.builds(KeepOwn, versions, data),
    st.builds(KeepWallMark, versions),
    st.builds(KeepEndpoints, keys, endpoints),
    st.builds(KeepInvite, keys, data),
    st.builds(DropInvite, keys),
    st.builds(KeepIssued, keys, data),
)


class Model:
    """What the store should hold: dictionaries in the order of writing."""

    def __init__(self) -> None:
        self._held: dict[tuple[type, bytes], StateChange] = {}

    def apply(self, change: StateChange) -> None:
        """Do as the change says."""
        match change:
            case KeepRecord(id_) | DropRecord(id_):
                place = (KeepRecord, id_)
            case KeepInvite(key) | DropInvite(key):
                place = (KeepInvite, key)
            case KeepCharter(version):
                place = (KeepCharter, bytes([version]))
            case KeepEndpoints(key):
                place = (KeepEndpoints, key)
            case KeepIssued(serial):
                place = (KeepIssued, serial)
            case _:
                place = (type(change), b"")
        self._held.pop(place, None)
        if not isinstance(change, DropRecord | DropInvite):
            self._held[place] = change

    def state(self) -> StoredState:
        """What is to be loaded."""
        held = list(self._held.values())
        policy = [c for c in held if isinstance(c, KeepPolicy)]
        own = [c for c in held if isinstance(c, KeepOwn)]
        mark = [c for c in held if isinstance(c, KeepWallMark)]
        return StoredState(
            charters=tuple(c.data for c in held if isinstance(c, KeepCharter)),
            records=tuple((c.kind, c.data) for c in held if isinstance(c, KeepRecord)),
            policy=policy[0].data if policy else b"",
            own=own[0].data if own else b"",
            own_version=own[0].version if own else 0,
            wall_mark=mark[0].at if mark else 0,
            endpoints=tuple(
                (c.key, c.candidates) for c in held if isinstance(c, KeepEndpoints)
            ),
            invites=tuple((c.key, c.data) for c in held if isinstance(c, KeepInvite)),
            issued=tuple((c.serial, c.data) for c in held if isinstance(c, KeepIssued)),
        )


@given(
    st.lists(
        st.tuples(st.lists(changes, max_size=6), st.sampled_from(["go on", "restart"])),
        max_size=8,
    )
)
@settings(max_examples=40)
def test_the_store_is_the_model(
    batches: list[tuple[list[StateChange], str]],
) -> None:
    """After every batch, and after every restart."""
    model = Model()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "home", "state.db")
        store = StateStore.open(path)
        try:
            for batch, then in batches:
                store.apply(batch)
                for change in batch:
                    model.apply(change)
                if then == "restart":
                    store.close()
                    store = StateStore.open(path)
                assert store.load() == model.state()
                assert store.notice == ""
        finally:
            store.close()
