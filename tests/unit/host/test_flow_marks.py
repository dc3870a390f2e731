"""Which flows pass by the tunnel's side: the rules, as text."""

from meshnode.host.flow_marks import mark_chains


def test_only_beginnings_of_others_are_marked() -> None:
    """What is in the middle of a flow must not make it one of another's."""
    hook, rules = mark_chains("mesh0", 0x6D6E)["know"]
    assert "prerouting" in hook
    *begun, known = rules
    assert len(begun) == 3
    for rule in begun:
        assert rule.startswith('iifname != { "mesh0", "lo" } fib daddr type local ')
        assert "ct state new" in rule
        assert rule.endswith("ct mark set 0x6d6e")
    assert "tcp flags & (syn | ack | rst | fin) == syn" in begun[0]
    assert known.endswith("ct mark 0x6d6e meta mark set 0x6d6e")


def test_answers_are_routed_again() -> None:
    """In the reply direction alone: we cannot begin a flow under the mark."""
    chains = mark_chains("mesh0", 7)
    hook, rules = chains["answer"]
    assert hook.startswith("route hook output")
    assert rules == ["ct direction reply ct mark 0x7 meta mark set 0x7"]
    assert chains["note"][1] == ["meta mark 0x7 ct mark set 0x7"]
