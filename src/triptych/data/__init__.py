"""Where pictures come from, how they are prepared once, and batches of them."""
