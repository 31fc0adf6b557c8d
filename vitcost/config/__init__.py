"""A model and the way in which it runs: configs, scenarios, and their tables."""
