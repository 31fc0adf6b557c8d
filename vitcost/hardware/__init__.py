"""Cards, and the time a step takes on them."""
