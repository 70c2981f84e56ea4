"""Words for true and false, as templates render them and as databases keep them in text."""

TRUE = frozenset(("true", "t", "yes", "y", "on", "1"))
FALSE = frozenset(("false", "f", "no", "n", "off", "0"))
