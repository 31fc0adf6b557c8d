"""From a rate of images to an order of cards: how many of each, in which batches, at what cost.

    python examples/serving.py

A ViT-B/16 answers 5,000 images a second, 99 % of them within 50 ms. Prices of an hour are examples
of your own.
"""

import vitcost
from vitcost.page import shown

MODEL = "vit_base_patch16_224"
PRICES = {"t4": 0.35, "l4": 0.8, "a10g": 1.0, "l40s": 1.9, "h100-sxm": 3.0}


def main() -> None:
    found = vitcost.serve(MODEL, rate="5000/s", slo="50ms", price=PRICES)
    for row in found.found:
        print(
            f"{row.gpu:9} {row.cards:3} cards, batches of {row.batch:2} in {row.precision}: "
            f"{row.cost_per_million_images:.2f} a million images, "
            f"99 % within {shown(row.latency_seconds, 'seconds')} "
            f"(at most {shown(row.high_seconds, 'seconds')})"
        )

    print("\nWhat half of the latency costs, and twice of it")
    for slo in ("25ms", "50ms", "100ms"):
        best = vitcost.serve(MODEL, rate="5000/s", slo=slo, price=PRICES, gpu="l4").best
        assert best is not None
        print(f"l4 within {slo:5}: {best.cards} cards, batches of {best.batch}, by {best.limit}")

    print("\nA card that was measured needs no wide band: 64 images a batch, 1,200 images a second")
    measured = {"gpu": "l4", "batch": 64, "anchor": f"{MODEL}=1200", "price": PRICES["l4"]}
    for words, given in (("measured", measured), ("predicted", {**measured, "anchor": ()})):
        best = vitcost.serve(MODEL, rate="5000/s", slo="200ms", **given).best
        assert best is not None
        print(f"l4 {words:9}: {best.cards} cards, {best.least_cards} if it is as fast as may be")


if __name__ == "__main__":
    main()
