"""Building blocks that two families or more use."""
