"""The grammar of a policy, with the name of its file."""

import pytest

from meshnode.errors import ConfigError
from meshnode.manage.policy_file import check_grammar


def test_a_policy_passes() -> None:
    """Names are not looked up: members may come later."""
    check_grammar('[[rule]]\nfrom = "a"\nto = "b"\nallow = "tcp:22"\n', "p.toml")


def test_an_error_names_the_file() -> None:
    """And the rule in it."""
    with pytest.raises(ConfigError, match=r"^p\.toml: rule 1: to: name somebody"):
        check_grammar('[[rule]]\nfrom = "a"\nallow = "any"\n', "p.toml")
