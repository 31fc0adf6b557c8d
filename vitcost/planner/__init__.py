"""Planning: the cheapest model, the cards that a model fits, and the time and cost of a training
run."""
