"""A model of one's own, in four ways: fields in a TOML file, fields in Python, a torch module that
a formula describes, and one that none does, which is traced and says so.

    python examples/own_model.py

The last two need vitcost[torch]. On the command line they are `vitcost report own_model:pooled`.
"""

from pathlib import Path

import vitcost

TOML = Path(__file__).with_suffix(".toml")


def known():
    """A Vision Transformer as torch modules; timm's, transformers' and torchvision's are read."""
    from vitcost.check.reference import build

    return build(vitcost.ViTConfig(img_size=64, patch_size=8, embed_dim=96, depth=3, num_heads=3))


def pooled():
    """An encoder of torch's own behind a patch embedding: no formula here describes it."""
    from torch import nn

    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layer = nn.TransformerEncoderLayer(96, 3, 384, batch_first=True)
            self.embed = nn.Conv2d(3, 96, 8, 8)
            self.encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
            self.head = nn.Linear(96, 10)

        def forward(self, image):
            tokens = self.embed(image).flatten(2).transpose(1, 2)
            return self.head(self.encoder(tokens).mean(1))

    return Pooled()


def main() -> None:
    fields = vitcost.ViTConfig(img_size=64, patch_size=8, embed_dim=96, depth=3, num_heads=3)
    reports = {
        "TOML": vitcost.report(str(TOML)),
        "fields": vitcost.report(fields),
        "module": vitcost.report(vitcost.from_torch(known())),
        "traced": vitcost.report(vitcost.from_torch(pooled(), img_size=64)),
    }
    for name, report in reports.items():
        data = report.to_dict()
        basis, flops = data["model"]["basis"], data["flops"]["forward"]
        print(f"{name:9} {report.params:10,} parameters {flops:15,} FLOPs   basis: {basis}")


if __name__ == "__main__":
    main()
