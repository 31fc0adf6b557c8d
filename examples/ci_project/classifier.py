"""The model of this project, as a pull request has it: DEPTH was 3."""

from torch import nn

DEPTH = 4


class Classifier(nn.Module):
    def __init__(self, depth: int) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(96, 3, 384, batch_first=True)
        self.embed = nn.Conv2d(3, 96, 8, 8)
        self.encoder = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.head = nn.Linear(96, 10)

    def forward(self, image):
        return self.head(self.encoder(self.embed(image).flatten(2).transpose(1, 2)).mean(1))


def build() -> nn.Module:
    """What the budget in pyproject.toml names."""
    return Classifier(DEPTH)
