"""Self-supervised features: a small network that learns a source's images without labels."""
