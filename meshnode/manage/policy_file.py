"""The grammar of an access policy, checked before anybody is asked."""

from meshnode.errors import ConfigError
from meshnode.mesh.policy_text import parse_policy


def check_grammar(text: str, source: str) -> None:
    """Check that *text*, read from *source*, is a policy.

    Raises:
        ConfigError: naming *source*, rule, key and word.
    """
    try:
        parse_policy(text)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None
