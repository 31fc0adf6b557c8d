"""From an own module to a limit on it: what it costs, a budget that holds, and one that does not.

    python examples/own_budget.py

Needs vitcost[torch]. The same limits stand in a pyproject.toml in ci_project.
"""

import torch

import vitcost


class Mixer(torch.nn.Module):
    """Patches, then layers that mix tokens and channels: no formula of vitcost's describes it."""

    def __init__(self, width: int = 64, tokens: int = 49, depth: int = 2) -> None:
        super().__init__()
        self.embed = torch.nn.Conv2d(3, width, 8, 8)
        self.tokens = torch.nn.ModuleList(torch.nn.Linear(tokens, tokens) for _ in range(depth))
        self.channels = torch.nn.ModuleList(torch.nn.Linear(width, width) for _ in range(depth))
        self.head = torch.nn.Linear(width, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.embed(image).flatten(2)
        for tokens, channels in zip(self.tokens, self.channels, strict=True):
            x = x + tokens(x)
            x = x + channels(x.transpose(1, 2)).transpose(1, 2)
        return self.head(x.mean(2))


def main() -> None:
    model = vitcost.from_torch(Mixer(), name="mixer", img_size=56)
    report = vitcost.report(model, batch=32)
    print(f"{report.params:,} parameters, {report.flops.macs_forward:,} MACs a batch of 32")
    print(f"peak of a step: {report.training.peak_bytes:,} bytes, at {report.training.peak_at}")
    vitcost.assert_budget(model, params="27 k", batch=32)
    try:
        vitcost.assert_budget(model, params="20 k", train_memory="64 MiB", batch=32)
    except AssertionError as broken:
        print(broken)


if __name__ == "__main__":
    main()
