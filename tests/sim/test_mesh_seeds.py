"""Random lives of random meshes; `tools/simulate --mesh` plays any of them again."""

import multiprocessing
import os

import pytest

from meshnode.simulation.mesh_scenario import play_mesh

SEEDS = 6
"""`tools/test` plays forty by `tools/simulate` before it comes here."""


def play(seed: int) -> str:
    """Return what went wrong with a seed, or nothing."""
    try:
        play_mesh(seed)
    except Exception as failure:  # whatever it is, it is told with its seed
        again = f"tools/simulate --mesh --seed {seed}"
        return f"seed {seed} ({again}): {type(failure).__name__}: {failure}"
    return ""


@pytest.mark.timeout(1800)
def test_random_meshes_keep_all_rules_and_recover():
    """Some of the seeds that `tools/simulate` plays, on all processors."""
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        failures = [f for f in pool.imap_unordered(play, range(SEEDS)) if f]
    assert not failures, "\n\n".join(failures[:3])


@pytest.mark.parametrize("seed", [0, 1])
def test_the_same_seed_gives_the_same_trace(seed):
    """Byte for byte: all that was sent, and when."""
    outcomes = {play_mesh(seed, nodes=(3, 5)).digest for _ in range(2)}
    assert len(outcomes) == 1


def test_other_seeds_are_other_lives():
    """The digest tells them apart."""
    outcomes = {play_mesh(seed, nodes=(3, 3)).digest for seed in (0, 1)}
    assert len(outcomes) == 2
