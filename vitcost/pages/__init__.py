"""The pages of the results: their content and its order; the formats decide how it looks."""
