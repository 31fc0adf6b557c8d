"""Cards, and the time a step takes on them.

``specs`` finds cards, ``work`` counts what a step launches, ``roofline`` predicts its time,
``calibrate`` fits constants to measurements, ``score`` judges predictions.
"""
