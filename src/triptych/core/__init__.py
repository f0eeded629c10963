"""Floor 0: pictures, random streams and the contract every family signs."""
