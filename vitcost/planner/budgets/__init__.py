"""The parts of a budget: its declaration and its baseline."""
