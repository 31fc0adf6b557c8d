"""The pages of the results: what is said, in which order; the formats decide how it looks."""
