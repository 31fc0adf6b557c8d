"""Formulas, found by running the engine and the textbook on symbols in place of sizes."""
