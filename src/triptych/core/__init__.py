"""Types, random streams and the contract every model signs."""
