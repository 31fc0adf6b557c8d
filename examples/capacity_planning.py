"""From a model to an order of cards: which hold it, how many finish in time, what that costs.

    python examples/capacity_planning.py

ViT-L/16 on ImageNet-21k for 30 epochs, within four days. Prices are examples of your own.
"""

import vitcost
from vitcost.errors import VitcostError
from vitcost.page import shown

MODEL = "vit_large_patch16_224"
TRAINING = {"precision": "amp-bf16", "num_classes": 21_841}
PRICES = {"l40s": 1.1, "a100-sxm-80gb": 1.8, "h100-sxm": 2.9, "h200-sxm": 3.5}


def main() -> None:
    held = vitcost.fit(MODEL, gpu=list(PRICES), mode="train", reserve="1.5 GiB", **TRAINING)
    print("The largest batch that a card holds, 1.5 GiB left to its context")
    for row in held.found:
        print(f"  {row.gpu:14} {row.largest_batch:5,}  {shown(row.headroom_bytes, 'bytes')} left")

    print("\nThe fewest cards for 30 epochs of ImageNet-21k in four days")
    plans = []
    for gpu, price in PRICES.items():
        try:
            p = vitcost.plan(
                MODEL,
                samples=14_197_122,
                epochs=30,
                gpu=gpu,
                price=price,
                deadline="4d",
                network="50 GB/s",
                reserve="1.5 GiB",
                **TRAINING,
            )
        except VitcostError as error:
            print(f"  {gpu:14} {error}")
            continue
        best = p.best
        assert best is not None
        plans.append((best.cost or 0.0, p))
        print(
            f"  {gpu:14} {p.job.cards:3} cards  {shown(best.run_seconds, 'seconds'):>6}  "
            f"{best.cost:8,.0f}  MFU {best.mfu:.0%}  {best.strategy}, time {p.basis}"
        )

    _, cheapest = min(plans, key=lambda pair: pair[0])
    print(f"\nThe cheapest is {cheapest.card.name}. It takes for granted:")
    for line in cheapest.assumptions:
        print(f"  {line}")


if __name__ == "__main__":
    main()
