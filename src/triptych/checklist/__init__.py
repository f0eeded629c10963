"""The usual checklist for GANs, answered from a run itself."""
