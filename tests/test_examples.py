"""Every example runs as its first lines say, and prints something; what it claims holds."""

import csv
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import vitcost

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
# what a test gives an example that would take long or needs a file
ARGS: dict[str, list[str]] = {
    "measure.py": [
        *("--models", "test_vit", "test_vit3", "--batches", "1", "2"),
        *("--precision", "fp32", "--eager", "--warm-up", "1", "--steps", "3"),
    ]
}


@pytest.mark.parametrize(
    "path", [path for path in EXAMPLES if path.name != "measure.py"], ids=lambda path: path.name
)
def test_it_runs(path: Path, tmp_path: Path) -> None:
    assert run(path, tmp_path).strip()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_it_says_how_to_run_it(path: Path) -> None:
    assert f"python examples/{path.name}" in path.read_text(encoding="utf-8").split('"""')[1]


def run(path: Path, cwd: Path) -> str:
    """What an example prints; it must end well, and warn of nothing."""
    command = [sys.executable, "-W", "error", str(path), *ARGS.get(path.name, [])]
    # a checkout that is not installed is found too
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    # one thread does not wait for another where cores are few
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pairs_of_equal_flops_are_as_they_were_measured() -> None:
    with (ROOT / "tests" / "data" / "throughput.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["layout"] == "nchw"]
    for pair in loaded("equal_flops").PAIRS:
        for each in (pair.slow, pair.fast):
            (row,) = (
                row
                for row in rows
                if (row["gpu"], row["model"], row["dynamo"], row["torch"][:3])
                == (pair.gpu, each.model, str(int(pair.compile)), pair.torch)
            )
            assert float(row["samples_per_sec"]) == each.images_per_second
            assert int(row["batch_size"]) == each.batch
        assert 1.5 < pair.fast.images_per_second / pair.slow.images_per_second < 1.9
        slow, fast = (
            vitcost.report(
                each.model,
                batch=each.batch,
                precision="amp-bf16",
                compile=pair.compile,
                software=pair.torch,
                gpu=pair.gpu,
            )
            for each in (pair.slow, pair.fast)
        )
        images = [r.flops.forward // r.scenario.batch for r in (slow, fast)]
        assert max(images) <= 1.05 * min(images)
        # FLOPs see no difference, the list of operations does
        rates = [r.time[0].images_per_second for r in (slow, fast)]
        assert rates[1] > 1.3 * rates[0]
        for each, rate in zip((pair.slow, pair.fast), rates, strict=True):
            assert rate == pytest.approx(each.images_per_second, rel=0.15)


def test_what_is_measured_here_can_be_calibrated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "ms" in run(ROOT / "examples" / "measure.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    speed, memory = (
        list(csv.DictReader((tmp_path / f"measured-{what}.csv").read_text().splitlines()))
        for what in ("throughput", "memory")
    )
    assert len(speed) == len(memory) == 2 * 2 * 2
    for row, beside in zip(speed, memory, strict=True):
        assert {row["gpu"], beside["gpu"]} == {"cpu-here"}
        seconds = int(row["batch_size"]) / float(row["samples_per_sec"])
        assert 1000 * seconds == pytest.approx(float(row["step_time_ms"]))
        report = vitcost.report(row["model"], batch=int(row["batch_size"]), platform="cpu")
        train, infer = report.training.peak_bytes, report.inference.total_bytes
        assert int(beside["predicted_peak_bytes"]) == (train if row["mode"] == "train" else infer)
        # a processor has no counter of its tensors
        assert beside["peak_bytes"] == ""
    found = vitcost.calibrate("measured-throughput.csv")
    assert [(row["gpu"], row["mode"], row["rows"]) for row in found.rows()] == [
        ("cpu-here", "infer", 4),
        ("cpu-here", "train", 4),
    ]
    assert all(c.held_out is not None for c in found.calibrations)
