"""Floor 1: building blocks that two families or more use."""
