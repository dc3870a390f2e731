"""The rules of this module are proven able to fail in `test_invariants`."""

from meshnode.simulation import invariants_traffic
from meshnode.simulation.invariants import Invariant, standard_invariants
from meshnode.simulation.world import World


def test_every_rule_is_in_force():
    """Each class of the module is among the standard invariants, with its number."""
    rules = {
        value
        for value in vars(invariants_traffic).values()
        if isinstance(value, type)
        and issubclass(value, Invariant)
        and value.__module__ == invariants_traffic.__name__
    }
    assert rules
    assert rules <= {type(rule) for rule in standard_invariants(World(1))}
    assert all(rule.rule[0] == "I" and rule.rule[1].isdigit() for rule in rules)
