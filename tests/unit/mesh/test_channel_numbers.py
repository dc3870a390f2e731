"""Numbers of channels: never 0, none twice."""

from meshnode.mesh.channel_numbers import ChannelNumbers


def test_a_number_that_is_taken_is_not_drawn() -> None:
    """Nor is 0; one that was given back may be."""
    draws = iter(bytes((0, 0, 0, n)) for n in (0, 1, 1, 0, 2, 1))
    numbers = ChannelNumbers(lambda count: next(draws))
    assert [numbers.draw(), numbers.draw()] == [1 << 24, 2 << 24]
    numbers.free(1 << 24)
    assert numbers.draw() == 1 << 24
