"""The watch over games of two players: a few samples now and then, and a verdict in words."""
