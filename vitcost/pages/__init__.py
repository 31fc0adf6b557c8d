"""The pages of results: their content and its order; formats decide how a page looks."""
