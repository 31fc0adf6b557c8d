"""What a budget is made of: quantities that can be limited, declarations, the baseline."""
