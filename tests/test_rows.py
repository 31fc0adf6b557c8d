"""One row is all that a table needs: each sort is added in a copy, and every command answers.

The copy is the package with one edit; tests of tables run on it too, and find the new row by
themselves.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import vitcost

ROOT = Path(__file__).parents[1]


class Copy:
    """The package in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "vitcost", folder / "vitcost", ignore=ignored)

    def add(self, file: str, before: str, text: str) -> None:
        """Writes text in front of the one place that reads so."""
        path = self.folder / "vitcost" / file
        source = path.read_text(encoding="utf-8")
        assert source.count(before) == 1, f"{file}: {before}"
        path.write_text(source.replace(before, text + before), encoding="utf-8")

    def python(self, *args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *args],
            cwd=self.folder,
            env={"PYTHONPATH": str(self.folder), "PATH": "", "COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=300,
        )

    def answers(self, *commands: str) -> str:
        """What some commands print, in one process; each must end with 0."""
        script = (
            "import sys\nfrom vitcost.cli import run\n"
            "for line in sys.argv[1:]:\n"
            "    code = run(line.split())\n"
            "    assert code == 0, (line, code)\n"
        )
        done = self.python("-c", script, *commands)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    def tests(self, *args: str) -> str:
        """What tests of this folder print, run on the copy."""
        config = ("-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT))
        done = self.python("-m", "pytest", "-p", "no:cacheprovider", *config, *args)
        return done.stdout + done.stderr


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


TEST = str(ROOT / "tests" / "test_tables.py")
TINY = "vit_tiny_patch16_224"


def test_a_format_is_a_module_and_a_row(copy: Copy) -> None:
    (copy.folder / "vitcost/render/tsv.py").write_text(
        '"""Tabs."""\n\ndef render(result, *, color, width):\n'
        '    return "".join("\\t".join(map(str, row.values())) + "\\n" for row in result.rows())\n'
    )
    copy.add("render/__init__.py", '    "csv": "vitcost', '    "tsv": "vitcost.render.tsv",\n')
    for command in (
        f"report {TINY}", "models tiny", "gpus t4", f"explain {TINY} params",
        f"compare {TINY} vit_base_patch16_224", f"fit {TINY} -g t4",
        f"plan {TINY} --samples 1M -g t4", f"serve {TINY} --rate 50/s -g t4",
    ):  # fmt: skip
        out = copy.answers(f"{command} --format tsv")
        assert "\t" in out or len(out.splitlines()) == 1
    assert "test_a_format[tsv]" in copy.tests("-v", TEST, "-k", "format")


def test_a_card_is_a_row(copy: Copy) -> None:
    copy.add(
        "hardware/cards.py",
        '    ("t4", "NVIDIA"',
        '    ("h99-sxm", "NVIDIA", "9.0", (60, 400, 900, 900, 1800, 1800), 90, 3000, 450, 700,\n'
        '     2026, "accel cc"),\n',
    )
    out = copy.answers(
        "gpus h99",
        f"report {TINY} -g h99-sxm",
        f"compare {TINY} vit_base_patch16_224 -g h99-sxm",
        f"fit {TINY} --mode train -g h99-sxm --require 1",
        f"plan {TINY} --samples 1M -g h99-sxm",
        f"serve {TINY} --rate 50/s -g h99-sxm",
    )
    assert out.count("h99-sxm") >= 6
    found = copy.tests("-v", TEST, str(ROOT / "tests/test_hardware.py"), "-k", "card or source")
    assert "test_a_card[h99-sxm] PASSED" in found
    assert "failed" not in found


@pytest.mark.slow
def test_an_optimizer_is_a_row(copy: Copy) -> None:
    # alpha: v · α; v + g²; √v; + ε; p, g, √v → p: torch/optim/rmsprop.py
    copy.add(
        "config/optimizers.py",
        '    "lion": Optimizer(',
        '    "rmsprop": Optimizer(1, 4, "", 2 + 3 + 2 + 2 + 4, "torch.optim.RMSprop", {},\n'
        '                         "torch.optim.RMSprop: square_avg, step"),\n',
    )
    flags = "--mode train --optimizer rmsprop"
    out = copy.answers(
        f"report {TINY} {flags} -g t4",
        f"compare {TINY} vit_base_patch16_224 {flags} -g t4",
        f"fit {TINY} {flags} -g t4",
        f"plan {TINY} --samples 1M -g t4 --optimizer rmsprop",
        f"explain {TINY} optimizer_states --optimizer rmsprop",
    )
    assert "rmsprop" in out
    # torch's own is stepped
    states = str(ROOT / "tests/test_states.py")
    found = copy.tests("-v", TEST, states, "-k", "rmsprop and not bf16")
    assert "test_an_optimizer[rmsprop] PASSED" in found
    assert "test_states_are_torchs[rmsprop-fp32-none] PASSED" in found
    assert "failed" not in found


def test_an_activation_is_a_row(copy: Copy) -> None:
    copy.add(
        "config/activations.py",
        '    "silu": Activation(',
        '    "mish": Activation("Mish", "mish", "x", (f"{_TORCH}Mish",), ("mish",)),\n',
    )
    flags = f"{TINY} --act-layer mish"
    out = copy.answers(
        f"report {flags} --mode train -g t4",
        f"explain {flags} train_memory",
        f"compare {TINY} --vary act_layer=gelu,mish",
        f"fit {flags} --mode train -g t4",
        f"plan {flags} --samples 1M -g t4",
        f"serve {flags} --rate 50/s -g t4",
    )
    assert "peak of a step" in out
    found = copy.tests("-v", str(ROOT / "tests/test_kinds.py"), "-k", "mish")
    assert "test_a_row_answers_every_column[mish] PASSED" in found
    assert "test_an_activation_answers_every_column[mish] PASSED" in found


def test_a_layer_kind_is_a_row(copy: Copy) -> None:
    copy.add(
        "engine/kinds.py",
        "    *_activations(),\n",
        '    Kind("clip", (1,), 1, "keep", "keep", "x", "each", "", "keeps", "memory",\n'
        '         "kernel"),\n',
    )
    copy.add("engine/layers.py", "    if inner_norm:\n", '    y = m.op("clip", y)\n')
    copy.answers(
        f"report {TINY} --mode train -g t4 -o clipped.json --json",
        f"compare {TINY} vit_base_patch16_224 --why",
        f"fit {TINY} --mode train -g t4",
        f"plan {TINY} --samples 1M -g t4",
        f"serve {TINY} --rate 50/s -g t4",
    )
    clipped = json.loads((copy.folder / "clipped.json").read_text(encoding="utf-8"))
    plain = vitcost.report(TINY, mode="train", gpu="t4").to_dict()
    # an element for each of 197 tokens and 768 channels in each of 12 blocks, of 4 bytes
    elements = 12 * 197 * 768
    for part, key, more in (
        ("params", "total", 0),
        ("flops", "pointwise_forward", elements),
        ("memory", "training", 4 * elements),
    ):
        old, new = (data[part][key] for data in (plain, clipped))
        if key == "training":
            old, new = (data["saved_activations_bytes"] for data in (old, new))
        assert new - old == more, part
    found = copy.tests("-v", str(ROOT / "tests/test_kinds.py"), "-k", "clip")
    assert "test_a_row_answers_every_column[clip] PASSED" in found


def test_a_quantity_is_a_row(copy: Copy) -> None:
    copy.add(
        "costs/quantities.py",
        '    "rule_of_thumb_inference": Quantity(',
        '    "averages": Quantity("memory.training.ema_bytes", "bytes", ("params",),\n'
        '        Formula("states", ("ema_bytes",), "bytes of moving averages", "EMA, 1992",\n'
        '                ("batch", "ema"))),\n',
    )
    out = copy.answers(
        f"compare {TINY} vit_base_patch16_224 --ema 1 --quantities averages",
        f"compare {TINY} --vary batch=1,2 --ema 1 --quantities averages",
        f"explain {TINY} averages --ema 2",
    )
    # 4 bytes of each of its parameters, twice
    assert f"{2 * 4 * 5_717_416:,}" in out
    limit = "import vitcost; vitcost.assert_budget('vit_tiny_patch16_224', averages='1 B')"
    assert copy.python("-c", limit).returncode == 0
    assert "test_a_quantity[averages] PASSED" in copy.tests("-v", TEST, "-k", "averages")


@pytest.mark.slow
def test_a_model_is_a_row(copy: Copy) -> None:
    name = "vit_petite_patch16_224"
    copy.add(
        "zoo/timm/vit.py",
        '    "vit_small_patch32_224": of(',
        f'    "{name}": row("timm", embed_dim=256, depth=10, num_heads=4),\n',
    )
    out = copy.answers(
        "models petite",
        f"report {name}",
        f"summary {name}",
        f"explain {name} params",
        f"compare {name} {TINY} --why",
        f"fit {name} --mode train -g t4",
        f"plan {name} --samples 1M -g t4",
        f"serve {name} --rate 50/s -g t4",
        f"check {name}",
    )
    # patches 16·16·3·256 + 256, a class token, 197 positions, 10 blocks of 12h² + 13h, norm, head
    h = 256
    params = 768 * h + h + h + 197 * h + 10 * (12 * h**2 + 13 * h) + 2 * h + 1000 * h + 1000
    assert f"{params:,} parameters" in out
    tables = str(ROOT / "tests/test_zoo_timm.py")
    held = (f"{tables}::test_table", f"{tables}::test_the_tables_hold_what_timm_has")
    found = copy.tests("-v", f"{TEST}::test_a_model[{name}]", *held)
    assert f"test_a_model[{name}] PASSED" in found
    assert "failed" not in found


@pytest.mark.parametrize(
    ("file", "before", "text", "fault"),
    [
        (
            "zoo/timm/vit.py",
            '    "vit_small_patch32_224": of(',
            '    "vit_wrong": row("timm", embed_dims=256),\n',
            "vit_wrong: embed_dims is no field of a config",
        ),
        (
            "zoo/timm/vit.py",
            '    "vit_small_patch32_224": of(',
            '    "vit_wrong": row("timm", depth="12"),\n',
            "vit_wrong: depth must be an integer",
        ),
        (
            "hardware/cards.py",
            '    ("t4", "NVIDIA"',
            '    ("wrong", "NVIDIA", "9.0", (60, _, _, _, _, _), "90", _, _, _, 2026, "accel"),\n',
            "wrong: memory_gb is '90'",
        ),
        (
            "hardware/cards.py",
            '    ("t4", "NVIDIA"',
            '    ("wrong", "NVIDIA", "9.0", (60, _, _, _, _, _), 90, _, _, _, 2026, "a blog"),\n',
            "wrong: source is 'a blog'",
        ),
        (
            "config/optimizers.py",
            '    "lion": Optimizer(',
            '    "wrong": Optimizer(1, 4, "sideways", 9, "torch.optim.SGD", {}, "a paper"),\n',
            "wrong: step is 'sideways'",
        ),
        (
            "costs/quantities.py",
            '    "rule_of_thumb_inference": Quantity(',
            '    "wrong": Quantity("memory.nothing", "bytes", (), None),\n',
            "wrong: path is 'memory.nothing'",
        ),
    ],
    ids=["field", "value", "figure", "source", "step", "path"],
)
def test_a_wrong_field_is_told_by_its_row(
    copy: Copy, file: str, before: str, text: str, fault: str
) -> None:
    copy.add(file, before, text)
    assert fault in copy.tests(TEST, "-vv", "-k", "wrong")
