"""Pictures, random streams and the contract every family signs."""
