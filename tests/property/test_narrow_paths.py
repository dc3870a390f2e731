"""Whatever a path carries, and however it changes, what is believed is found out."""

from hypothesis import given, settings
from hypothesis import strategies as st

from meshnode.mesh.narrow_paths import AWAKE, GROW, LAZY_LOOK, sizes_for
from tests.unit.mesh.test_narrow_paths import BASE, KEY, RELAYED, V4, V6, Bench

OVERHEAD = {V4: 60, V6: 80, RELAYED: 88}
OUTER = st.integers(576, 9216)


def best(endpoint: object, limit: int) -> int:
    """Return the largest size to ask about that the path carries."""
    assert endpoint in (V4, V6, RELAYED)
    return max(size for size in sizes_for(endpoint, BASE) if size <= limit)


@given(
    st.sampled_from((V4, V6, RELAYED)),
    st.lists(OUTER, min_size=1, max_size=5),
    st.floats(0.0, 0.4),
)
@settings(max_examples=60, deadline=None)
def test_what_a_path_carries_is_found(endpoint, outers, delay) -> None:
    """Smaller within five seconds, larger within the time to grow."""
    bench = Bench(endpoint=endpoint)
    bench.path.delay = delay
    bench.run(5, packet=1400)
    for outer in outers:
        bench.path.limit = outer - OVERHEAD[endpoint]
        bench.run(5, packet=1400)
        assert bench.size <= bench.path.limit
        bench.run(GROW + 3, packet=1400)
        assert bench.size == best(endpoint, bench.path.limit)


@given(st.lists(st.tuples(st.sampled_from("tsmnl"), OUTER), max_size=12))
@settings(max_examples=60, deadline=None)
def test_nothing_is_asked_of_an_idle_path_and_nothing_is_believed_long(steps) -> None:
    """Traffic, silence, moves, sessions and limits in any order."""
    bench = Bench()
    for step, outer in steps:
        match step:
            case "t":
                bench.run(3, packet=1400)
            case "s":
                bench.run(2)
                assert bench.run(AWAKE + LAZY_LOOK) == []
                bench.narrow.traffic_resumed(KEY, now=bench.now)
            case "m":
                bench.path.paths[KEY] = V6 if bench.path.paths[KEY] == V4 else V4
                bench.narrow.path_changed(KEY, now=bench.now)
            case "n":
                bench.narrow.session_started(KEY, now=bench.now)
            case "l":
                bench.path.limit = outer - 60
    bench.path.limit = min(bench.path.limit, 1300)
    bench.narrow.traffic_resumed(KEY, now=bench.now)
    bench.run(8, packet=1400)
    assert bench.size <= bench.path.limit
