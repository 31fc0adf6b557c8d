"""Other tools on the same work: parameters and MACs of one model, and what the answer costs.

    python tests/bench/peers.py FOLDER [MODEL]

Installs every tool into virtual environments in FOLDER, where they are not there yet, and runs each
in a process of its own, from a cold start: import, build timm's model, count. Prints a Markdown
table: what was counted, its ratio to the formulas, CPU seconds (user + system) and peak memory.
"""

import json
import subprocess
import sys
import venv
from pathlib import Path
from typing import NamedTuple

import vitcost

ROOT = Path(__file__).parents[2]
CONSTRAINTS = ROOT / "tests" / "constraints.txt"
BUILD = """
import torch
from torch import library
try:
    import torchvision
except RuntimeError:
    # a build for CUDA beside a torch for the CPU: its two operators are declared, and never run
    ops = library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        ops.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
import timm
model = timm.create_model(MODEL, num_classes=1000).eval()
shape = (1, *model.pretrained_cfg["input_size"])
"""
PARAMS = "sum(p.numel() for p in model.parameters())"


class Tool(NamedTuple):
    """A tool: its package, and code that leaves ``params`` and ``macs``, None for what it lacks."""

    name: str
    package: str
    code: str


TOOLS = (
    Tool(
        "torchsummary",
        "torchsummary==1.5.1",
        """
import contextlib, io, re
from torchsummary import summary
with contextlib.redirect_stdout(io.StringIO()) as out:
    summary(model, shape[1:], device="cpu")
params = int(re.search(r"Total params: ([\\d,]+)", out.getvalue())[1].replace(",", ""))
macs = None
""",
    ),
    Tool(
        "torchinfo",
        "torchinfo==1.8.0",
        """
from torchinfo import summary
found = summary(model, input_size=shape, verbose=0)
params, macs = found.total_params, found.total_mult_adds
""",
    ),
    Tool(
        "fvcore",
        "fvcore==0.1.5.post20221221",
        """
from fvcore.nn import FlopCountAnalysis, parameter_count
params = parameter_count(model)[""]
macs = FlopCountAnalysis(model, torch.zeros(shape)).total()
""",
    ),
    Tool(
        "thop",
        "thop==0.1.1.post2209072238",
        """
from thop import profile
macs, params = profile(model, inputs=(torch.zeros(shape),), verbose=False)
""",
    ),
    Tool(
        "ultralytics-thop",
        "ultralytics-thop==2.2.3",
        """
from thop import profile
macs, params = profile(model, inputs=(torch.zeros(shape),), verbose=False)
""",
    ),
    Tool(
        "ptflops",
        "ptflops==0.7.5",
        """
from ptflops import get_model_complexity_info
macs, params = get_model_complexity_info(
    model, shape[1:], as_strings=False, print_per_layer_stat=False
)
""",
    ),
    Tool(
        "calflops",
        "calflops==0.3.2 transformers",
        """
from calflops import calculate_flops
_, macs, params = calculate_flops(
    model, input_shape=shape, output_as_string=False, print_results=False
)
""",
    ),
    Tool(
        "deepspeed",
        "deepspeed==0.19.8",
        """
from deepspeed.profiling.flops_profiler import get_model_profile
_, macs, params = get_model_profile(
    model, input_shape=shape, print_profile=False, as_string=False
)
""",
    ),
    Tool(
        "torchprofile",
        "torchprofile==0.1.0",
        f"""
from torchprofile import profile_macs
params, macs = {PARAMS}, profile_macs(model, torch.zeros(shape))
""",
    ),
    Tool(
        "FlopCounterMode, CPU",
        "torch",
        f"""
from torch.utils.flop_counter import FlopCounterMode
with torch.no_grad(), FlopCounterMode(display=False) as counter:
    model(torch.zeros(shape))
params, macs = {PARAMS}, counter.get_total_flops() // 2
""",
    ),
    Tool(
        "FlopCounterMode, meta",
        "torch",
        f"""
from torch.utils.flop_counter import FlopCounterMode
model = model.to("meta")
with torch.no_grad(), FlopCounterMode(display=False) as counter:
    model(torch.zeros(shape, device="meta"))
params, macs = {PARAMS}, counter.get_total_flops() // 2
""",
    ),
)
VITCOST = Tool(
    "vitcost",
    "vitcost",
    """
import vitcost
report = vitcost.report(MODEL)
params, macs = report.params, report.flops.macs_forward
""",
)
# what a process says at its end, on a line of its own
LAST = """
import importlib.metadata, json, resource, time
cost = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print()
print(json.dumps([importlib.metadata.version(PACKAGE), params, macs, *cost]))
"""


class Found(NamedTuple):
    """What a tool said, and what it took."""

    version: str
    params: int | None
    macs: int | None
    cpu_seconds: float
    peak_kib: int


def python_of(folder: Path, tool: Tool) -> Path:
    """The interpreter that has a tool: the two that are both called thop stand apart."""
    home = folder / ("apart" if tool.name == "ultralytics-thop" else "together")
    python = home / "bin" / "python"
    if not python.exists():
        venv.create(home, with_pip=True)
        apart = home.name == "apart"
        wanted = [each for each in TOOLS if (each.name == "ultralytics-thop") == apart]
        tools = {part for each in wanted for part in each.package.split()}
        install = [python, "-m", "pip", "install", "-q", "-c", CONSTRAINTS]
        subprocess.run([*install, "torch", *tools], check=True)
        # a torchvision that names another torch runs with this one
        subprocess.run([*install, "timm"], check=True)
        subprocess.run([*install, "--no-deps", "torchvision"], check=True)
    return python


def run(python: Path, tool: Tool, model: str) -> Found | str:
    """One answer, or the last line of why there is none."""
    package = tool.package.partition("==")[0]
    head = f"MODEL, PACKAGE = {model!r}, {package!r}\n"
    build = "" if tool is VITCOST else BUILD
    code = f"{head}{build}{tool.code}{LAST}"
    done = subprocess.run(
        [python, "-W", "ignore", "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    if done.returncode:
        return done.stderr.strip().splitlines()[-1]
    version, params, macs, *cost = json.loads(done.stdout.splitlines()[-1])
    return Found(version, params and int(params), macs and int(macs), *cost)


def row(tool: Tool, found: Found | str, truth: vitcost.Report) -> str:
    """A line of the table."""
    if isinstance(found, str):
        return f"| {tool.name} | | {found[:80]} | | | | |"
    true_macs = truth.flops.macs_forward
    missing = "–" if found.params is None else f"{found.params - truth.params:+,}"
    macs = "none" if found.macs is None else f"{found.macs:,}"
    ratio = "–" if found.macs is None else f"{found.macs / true_macs:.3f}"
    exact = found.params == truth.params and found.macs == true_macs
    cells = (
        tool.name,
        found.version,
        "exact" if found.params == truth.params else missing,
        macs,
        "exact" if found.macs == true_macs else ratio,
        f"{found.cpu_seconds:.1f} s",
        f"{found.peak_kib / 2**20:.2f} GiB",
    )
    return "| " + " | ".join(f"**{cell}**" if exact else cell for cell in cells) + " |"


def main() -> None:
    folder = Path(sys.argv[1]).resolve()
    model = sys.argv[2] if len(sys.argv) > 2 else "vit_huge_patch14_224"
    truth = vitcost.report(model)
    print(f"{model}: {truth.params:,} parameters, {truth.flops.macs_forward:,} MACs\n")
    print("| tool | version | parameters | MACs | of the truth | CPU time | peak memory |")
    print("|---|---|---:|---:|---:|---:|---:|")
    print(row(VITCOST, run(Path(sys.executable), VITCOST, model), truth), flush=True)
    for tool in TOOLS:
        print(row(tool, run(python_of(folder, tool), tool, model), truth), flush=True)


if __name__ == "__main__":
    main()
