"""What a budget is made of: declarations and the baseline."""
