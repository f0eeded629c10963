"""Mathematics of noising, without networks."""
