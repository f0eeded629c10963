"""Charts, image grids and sheets."""
