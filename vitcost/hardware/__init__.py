"""Cards, and the time a step takes on them.

``specs`` finds cards, ``work`` counts what a step launches, ``rates`` has what its time rests on,
``roofline`` predicts it, ``calibrate`` fits constants to measurements, ``score`` judges it.
"""
