"""Every example runs as its first lines say, and prints something; what it claims holds."""

import csv
import importlib.util
import os
import re
import shutil
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
    "paper_models.py": ["figure.pdf"],
    "measure.py": [
        *("--models", "test_vit", "test_vit3", "test_resnet", "--batches", "1", "2"),
        *("--precision", "fp32", "--eager", "--warm-up", "1", "--steps", "3"),
    ],
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
    assert len(speed) == len(memory) == 3 * 2 * 2
    for row, beside in zip(speed, memory, strict=True):
        assert {row["gpu"], beside["gpu"]} == {"cpu-here"}
        seconds = int(row["batch_size"]) / float(row["samples_per_sec"])
        assert 1000 * seconds == pytest.approx(float(row["step_time_ms"]))
        report = vitcost.report(row["model"], batch=int(row["batch_size"]), platform="cpu")
        train, infer = report.training.peak_bytes, report.inference.total_bytes
        assert int(beside["predicted_peak_bytes"]) == (train if row["mode"] == "train" else infer)
        # a processor has no counter of its tensors
        assert beside["peak_bytes"] == ""
    # constants are fitted to models that have a formula
    found = vitcost.calibrate("measured-throughput.csv")
    assert [(row["gpu"], row["mode"], row["rows"]) for row in found.rows()] == [
        ("cpu-here", "infer", 4),
        ("cpu-here", "train", 4),
    ]
    assert all(c.held_out is not None for c in found.calibrations)


def test_the_papers_models_are_those_of_its_table(tmp_path: Path) -> None:
    lines = run(ROOT / "examples" / "paper_models.py", tmp_path).splitlines()
    # a block of width h is 12 h² + 13 h; patches, class token, positions, the last norm
    sizes = {"base": (16, 768, 12), "large": (16, 1024, 24), "huge": (14, 1280, 32)}
    for line, (p, h, depth) in zip(lines[1:4], sizes.values(), strict=True):
        tokens = (224 // p) ** 2 + 1
        encoder = 3 * p * p * h + h + h + tokens * h + depth * (12 * h * h + 13 * h) + 2 * h
        assert f" {encoder + 1000 * h + 1000:,} " in line
        assert f" {encoder:,} " in line


def test_a_papers_table_and_figure(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    out = run(ROOT / "examples" / "paper_models.py", tmp_path)
    (large,) = re.findall(r"^vit\\_large\\_patch16\\_224 & (.*) \\\\$", out, re.MULTILINE)
    # 197 tokens of width 1024 in 24 blocks of 12sh² + 2s²h, patches and a head
    s, h = 197, 1024
    macs = 196 * 768 * h + 24 * (12 * s * h * h + 2 * s * s * h) + 1000 * h
    assert large.split(" & ")[:2] == ["304.3", f"{macs / 1e9:.1f}"]
    assert (tmp_path / "figure.pdf").read_bytes().startswith(b"%PDF-")


def test_an_own_module_and_its_budget(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    out = run(ROOT / "examples" / "own_budget.py", tmp_path)
    # 49 patches of 8 x 8 x 3 to width 64, two layers over tokens and over channels, ten classes
    h, n = 64, 49
    params = 192 * h + h + 2 * (n * n + n + h * h + h) + 10 * h + 10
    macs = 32 * (n * 192 * h + 2 * (h * n * n + n * h * h) + 10 * h)
    assert out.startswith(f"{params:,} parameters, {macs:,} MACs")
    assert f"params is {params - 20_000:,} over the limit of 20,000" in out


def test_a_model_of_ones_own_in_four_ways(tmp_path: Path) -> None:
    lines = run(ROOT / "examples" / "own_model.py", tmp_path).splitlines()
    found = {line.split()[0]: line for line in lines}
    h = 96
    patches, block = 3 * 8 * 8 * h + h, 12 * h * h + 13 * h
    plain = patches + h + 65 * h + 3 * block + 2 * h + 1000 * h + 1000
    assert f" {plain:,} parameters" in found["fields"]
    assert found["fields"].split()[1:] == found["module"].split()[1:]
    # no class token, no positions, no last norm, ten classes
    assert f" {patches + 3 * block + 10 * h + 10:,} parameters" in found["traced"]
    assert [line.endswith("traced") for line in lines] == [False, False, False, True]
    # 16 x 12 patches, a class token and four registers, all with positions, 17 classes
    h, tokens = 384, 16 * 12 + 1 + 4
    toml = 768 * h + h + h + 4 * h + tokens * h + 10 * (12 * h * h + 13 * h) + 2 * h + 17 * h + 17
    assert f" {toml:,} parameters" in found["TOML"]


@pytest.fixture
def ci_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project as a workflow checks it out."""
    project = tmp_path / "project"
    shutil.copytree(ROOT / "examples" / "ci_project", project)
    monkeypatch.chdir(project)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    return project


def vitcost_says(*args: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "vitcost", *args], capture_output=True, text=True, timeout=300
    )
    return done.returncode, done.stdout + done.stderr


def test_the_pull_request_of_the_project_fails_and_says_why(ci_project: Path) -> None:
    # 3 to 4 layers of width 96, each 12 h² + 13 h
    layer = 12 * 96 * 96 + 13 * 96
    before = 3 * 8 * 8 * 96 + 96 + 3 * layer + 10 * 96 + 10
    code, out = vitcost_says("budget", "--why", "--format", "github")
    assert code == 1
    assert "::error file=pyproject.toml,line=10,title=vitcost budget%3A classifier::" in out
    assert f"params is {before + layer - 400_000:,} over the limit of 400,000" in out
    assert f"params is {layer:,} more than the baseline of {before:,}" in out
    # the first layer keeps less for its backward; the rest are alike and stand as one, 2 then 3
    linear = 96 * 384 + 384
    assert f"encoder.layers.1.linear1: params {2 * linear:,} → {3 * linear:,}" in out
    # accepted: the growth, and a higher limit
    config = ci_project / "pyproject.toml"
    config.write_text(config.read_text(encoding="utf-8").replace('"0.4 M"', '"0.5 M"'))
    assert vitcost_says("budget", "--update")[0] == 0
    assert vitcost_says("budget")[0] == 0


def test_the_workflow_runs_what_it_says(ci_project: Path) -> None:
    """On a pull request: the branch that it is into has one layer less."""
    model = ci_project / "classifier.py"
    own = model.read_text(encoding="utf-8")
    model.write_text(own.replace("DEPTH = 4", "DEPTH = 3"), encoding="utf-8")
    author = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    for args in (["init"], ["add", "-A"], [*author, "commit", "-m", "x"],
                 ["update-ref", "refs/remotes/origin/main", "HEAD"]):  # fmt: skip
        subprocess.run(["git", *args], check=True, capture_output=True)
    model.write_text(own, encoding="utf-8")
    workflow = (ci_project / ".github" / "workflows" / "budget.yml").read_text(encoding="utf-8")
    yaml = pytest.importorskip("yaml")
    steps = yaml.safe_load(workflow)["jobs"]["budget"]["steps"]
    commands = [step["run"] for step in steps if step.get("run", "").startswith("vitcost")]
    summary = ci_project / "summary.md"
    env = {
        **os.environ,
        "GITHUB_STEP_SUMMARY": str(summary),
        "GITHUB_BASE_REF": "main",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    codes = [subprocess.run(command, shell=True, env=env).returncode for command in commands]
    assert codes == [0, 1]
    layer = 12 * 96 * 96 + 13 * 96
    assert f"| **+{layer:,}** |" in summary.read_text(encoding="utf-8")


def test_the_test_of_the_project_passes(ci_project: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
