"""The parts of a budget: declarations and the baseline."""
