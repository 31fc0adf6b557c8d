"""Base, Large and Huge: Table 1 of Dosovitskiy et al. 2021 (arXiv 2010.11929), and what it leaves
out: what each model costs to run and to train; then the table and the figure of a paper.

    python examples/paper_models.py [FIGURE.pdf]
"""

import sys

import vitcost
from vitcost.pages.shaped import Shaped
from vitcost.render import render
from vitcost.units import binary_bytes, si

# layers, hidden size, MLP size, heads and parameters as the paper prints them
TABLE_1 = {
    "vit_base_patch16_224": (12, 768, 3072, 12, "86M"),
    "vit_large_patch16_224": (24, 1024, 4096, 16, "307M"),
    "vit_huge_patch14_224": (32, 1280, 5120, 16, "632M"),
}


def main() -> None:
    print(f"{'':22} {'paper':>6} {'parameters':>12} {'no head':>12} {'FLOPs':>8} {'train':>9}")
    for name, (depth, width, mlp, heads, printed) in TABLE_1.items():
        report = vitcost.report(name)
        config = report.model.config
        assert (config.depth, config.embed_dim) == (depth, width)
        assert (config.mlp_dim, config.num_heads) == (mlp, heads)
        # the paper counts the encoder: the head depends on the task
        encoder = vitcost.report(name, num_classes=0).params
        training = report.training.peak_bytes or 0
        print(
            f"{name:22} {printed:>6} {report.params:12,} {encoder:12,} "
            f"{si(report.flops.forward):>8} {binary_bytes(training):>9}"
        )
    print(
        "\nThe paper's 86M is Base without a head, or with one; its 632M is Huge with its head. No"
    )
    print("head gives Large 307M: these fields have 304M with it, and 303M without.")
    table()
    figure(*sys.argv[1:2])


def table() -> None:
    """The columns of a paper, in its order, under its names and in its units."""
    found = vitcost.compare(*TABLE_1, quantities=["params", "macs", "train_memory"], batch=1)
    columns = ("params=Params (M)", "macs=MACs (G)", "train=Training memory (GiB)")
    print()
    print(render(Shaped(found, columns=columns), "latex"), end="")


def figure(file: str = "") -> None:
    """MACs and images a second at batch 256, sized by parameters, where a file is named for it."""
    if file:
        found = vitcost.compare(*TABLE_1, batch=256, precision="amp-bf16", gpu="rtx4090")
        found.plot(file, x="macs", y="images_per_second", size="params")
        print(f"\n{file}")


if __name__ == "__main__":
    main()
