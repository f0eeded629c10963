"""Floor 1: the mathematics of noising, without networks."""
