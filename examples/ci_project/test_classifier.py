"""The same limit as a test of pytest's."""

from classifier import build

import vitcost


def test_it_fits_the_device() -> None:
    vitcost.assert_budget(vitcost.from_torch(build(), img_size=64), params="0.5 M", macs="100 M")
