"""What a model is and how it is run: configs, scenarios, and the tables behind both."""
