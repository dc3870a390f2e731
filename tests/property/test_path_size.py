"""Whatever comes in, in whatever order: no size is in use that nobody answered for."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from meshnode.codec.messages import LargestSize, SizeProbe, SizeProven
from tests.unit.mesh.test_path_size import (
    BASE,
    HERE,
    KEY,
    OTHER,
    PAUSE,
    PERIOD,
    THERE,
    TRIES,
    Bench,
)

STEPS = st.sampled_from(
    (
        *("start", "say", "answer", "answer late", "forge", "move", "lose", "return"),
        *("wait", "sleep", "traffic"),
    )
)


@given(st.lists(st.tuples(STEPS, st.integers(0, 2**32)), max_size=60))
@settings(max_examples=300, deadline=None)
def test_a_size_in_use_was_answered_for_on_that_path(
    steps: list[tuple[str, int]],
) -> None:
    """By the member, for a probe sent to that endpoint, and not long ago if it talks.

    Answers are lost, late, repeated and forged; the member moves, restarts and sleeps.
    """
    bench = Bench(largest=8920)
    probes: list[tuple[SizeProbe, object]] = []
    honest: set[tuple[object, int]] = set()

    def note(sent: list[SizeProbe]) -> None:
        probes.extend((probe, bench.tunnels.paths[KEY]) for probe in sent)

    for step, seed in steps:
        chance = random.Random(seed)
        match step:
            case "start":
                bench.sizes.session_started(KEY, now=bench.now)
            case "say":
                largest = LargestSize(chance.choice((1280, 2000, 4000, 8920, 65_455)))
                bench.sizes.receive_largest(KEY, largest, now=bench.now)
            case "answer" | "answer late":
                recent = probes[-1:] if step == "answer" else probes
                if recent:
                    probe, path = chance.choice(recent)
                    honest.add((path, probe.size))
                    bench.answer(probe)
            case "forge":
                nonce = chance.choice(
                    [chance.randbytes(8), *(p.nonce for p, _ in probes)]
                )
                size = chance.choice((1996, 3992, 8396, 8920, 9000))
                key = OTHER if nonce in {p.nonce for p, _ in probes} else KEY
                bench.sizes.receive_proven(key, SizeProven(nonce, size), now=bench.now)
            case "move":
                bench.tunnels.paths[KEY] = chance.choice((HERE, THERE))
                bench.sizes.path_changed(KEY, now=bench.now)
            case "lose":
                bench.tunnels.sessions.discard(KEY)
            case "return":
                bench.tunnels.sessions.add(KEY)
            case "wait":
                note(bench.run(PAUSE))
            case "sleep":
                note(bench.run(chance.uniform(0, 2 * PERIOD)))
            case "traffic":
                note(bench.talk(chance.randint(1, 40)))
        note(bench.run())
        if bench.size != BASE:
            assert (bench.tunnels.paths[KEY], bench.size) in honest
            assert bench.size <= 8920
        assert OTHER not in bench.sizes.proven()
    bench.tunnels.sessions.add(KEY)
    bench.talk(PERIOD + (TRIES + 1) * PAUSE + 1)
    bench.talk(TRIES * PAUSE + 1)
    assert bench.size == BASE, "nobody answers, and it is still in use"
