"""Planning: what costs least, what fits on which card, and what a training run takes."""
