"""Floor 3: plain numbers in, SVG out. Colours are CSS variables, so one picture serves light and dark."""
