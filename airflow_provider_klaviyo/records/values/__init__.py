"""From SQL's values to JSON's."""
