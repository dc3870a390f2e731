"""One attempt to join, in virtual time."""

from meshnode.simulation.mesh_world import MeshWorld


def test_an_attempt_ends_with_a_result():
    """And closes its port."""
    world = MeshWorld(1)
    world.found("a")
    host = world.prepare("b")
    attempt = world.join("b", world.invite("a"))
    assert host.visitors
    world.run(3)
    assert attempt.is_over
    assert attempt.result is not None
    assert host.visitors == {}


def test_a_refusal_ends_it():
    """With the issuer's word."""
    world = MeshWorld(1)
    world.found("a")
    token = world.invite("a")
    for name in ("b", "c"):
        world.prepare(name)
        attempt = world.join(name, token)
        world.run(3)
    assert attempt.is_over
    assert attempt.refusal == "used"


def test_a_killed_attempt_is_silent():
    """It neither hears nor says any more."""
    world = MeshWorld(1)
    world.found("a")
    world.prepare("b")
    attempt = world.join("b", world.invite("a"))
    attempt.kill()
    world.run(5)
    assert attempt.result is None
    assert "b" not in world.homes
    said = [row.sent_at for row in world.trace.rows if row.sender == "b"]
    assert max(said) == 0.0
