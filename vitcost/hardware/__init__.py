"""Cards, and the time a step takes on them.

``specs`` finds cards, ``work`` counts what a step launches, ``rates`` finds the constants of its
time, ``roofline`` predicts it, ``calibrate`` fits constants to measurements, ``score`` compares
predictions with measurements.
"""
