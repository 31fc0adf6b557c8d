"""A model and the way it is run: configs, scenarios, and the tables behind both."""
