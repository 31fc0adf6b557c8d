"""Files that the flags of a command name: cards, constants, measurements, budgets."""

from pathlib import Path

import vitcost
from vitcost.cli import run
from vitcost.render import render

_MODELS = ("vit_tiny", "vit_small", "vit_base", "deit_small", "deit_base", "vit_large")
_BUDGET = "[[tool.vitcost.budget]]\nmodel = 'vit_tiny_patch16_224'\nparams = '{}'\n"


def written(folder: Path) -> dict[str, str]:
    """Writes them, and says where each is; ``pyproject.toml`` has a card named ``mine`` too."""
    own = "[{}gpu.mine]\nlike = 'l4'\nmemory_gb = {}\nbandwidth_gbps = {}\n"
    texts = {
        "pyproject.toml": own.format("tool.vitcost.", 20, 250),
        "cards.toml": own.format("", 10, 500),
        "budget.toml": _BUDGET.format("9 M"),
        "other.toml": _BUDGET.format("8 M"),
        "measured.csv": "model,batch_size,samples_per_sec\n" + "".join(_rows()),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    constants, baseline = folder / "constants.toml", folder / "baseline.json"
    flags = ["-g", "l4", "--precision", "amp-bf16"]
    assert run(["calibrate", str(folder / "measured.csv"), *flags, "-o", str(constants)]) == 0
    vitcost.budget(str(folder / "other.toml"), baseline=str(baseline), update=True)
    saved = folder / "saved.json"
    saved.write_text(render(vitcost.report("vit_tiny_patch16_224"), "json"), encoding="utf-8")
    return {
        "saved": str(saved),
        "cards": str(folder / "cards.toml"),
        "budget": str(folder / "budget.toml"),
        "other": str(folder / "other.toml"),
        "csv": str(folder / "measured.csv"),
        "constants": str(constants),
        "baseline": str(baseline),
    }


def _rows() -> list[str]:
    """Models at a speed that no card of the table is predicted to have."""
    rows = []
    for name in _MODELS:
        model = f"{name}_patch16_224"
        (time,) = vitcost.report(model, batch=256, precision="amp-bf16", gpu="l4").time
        rows.append(f"{model},256,{0.6 * time.images_per_second:.1f}\n")
    return rows
