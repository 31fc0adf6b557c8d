"""A file is the old one or the whole new one, whenever its writer is killed."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from limited import Forks

TINY = "vit_tiny_patch16_224"
BUDGETS = '[[tool.vitcost.budget]]\nmodel = "vit_tiny_patch16_224"\nparams = "6M"\n'
ROWS = "model,gpu,batch_size,samples_per_sec\n" + "".join(
    f"vit_{size}_patch16_224,l4,256,{rate}\n"
    for size, rate in (("tiny", 3000), ("small", 1500), ("base", 600), ("large", 200))
)
MODULE = "from torch import nn\n\ndef small():\n    return nn.Linear(8, 4)\n"

# every command that writes a file
WRITERS = {
    "json": ("report", TINY, "-o", "out.json"),
    "html": ("report", TINY, "-o", "out.html"),
    "csv": ("compare", TINY, "--vary", "batch=1:3000:+1", "-o", "out.csv"),
    "parquet": ("compare", TINY, "--vary", "batch=1:300000:+1", "-o", "out.parquet"),
    "plot": ("compare", TINY, "--plot", "out.svg"),
    "baseline": ("budget", "--config", "b.toml", "--baseline", "out.base.json", "--update"),
    "constants": ("calibrate", "rows.csv", "-g", "l4", "-o", "out.toml"),
    "trace": ("trace", "own:small", "--input", "8", "-o", "out.trace.json"),
    "packed": ("trace", "own:small", "--input", "8", "-o", "out.json.gz"),
}

# the process is killed at a call to the system that names the file, or its neighbour, or as soon
# as a file of the process has so many bytes
KILLED = """
import os, resource, signal, sys
at, most = {at}, {most}
if most:
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
seen = 0
def told(event, arguments):
    global seen
    if event in ("open", "os.rename", "os.chmod", "os.remove") and "out." in str(arguments[0]):
        seen += 1
        if seen == at:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(told)
from vitcost.__main__ import main
main()
"""


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks(
        "warm_torch", "numpy", "matplotlib.figure", "pyarrow.parquet", "vitcost.planner.sweep"
    ) as found:
        yield found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (("b.toml", BUDGETS), ("rows.csv", ROWS), ("own.py", MODULE)):
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize("name", WRITERS)
def test_a_killed_writer_leaves_the_old_file_or_the_new_one(
    name: str, forks: Forks, folder: Path
) -> None:
    args = WRITERS[name]
    file = folder / next(arg for arg in args if arg.startswith("out."))
    assert forks.run(*args, cwd=folder).code in (0, 1)
    new = len(file.read_bytes())
    # before the new file is there, which is renamed over the old one in one step
    old = b'{"old": "file"}' if name != "baseline" else file.read_bytes()
    outcomes, killed = set(), 0
    for at, most in ((1, 0), (2, 0), (3, 0), (4, 0), (0, 1), (0, new // 2), (0, new - 1)):
        file.write_bytes(old)
        ran = forks.run(*args, cwd=folder, code=KILLED.format(at=at, most=most))
        killed += ran.code < 0
        found = file.read_bytes()
        outcomes.add("old" if found == old else "new" if len(found) == new else "half")
    assert outcomes <= {"old", "new"}
    assert killed >= 4
    left = {each.name for each in folder.glob(".out*")}
    assert 1 < len(left) <= killed
    assert all(each.startswith(f".{file.name}.") and each[-1].isdigit() for each in left), left
    # what was left is in no later writer's way
    assert forks.run(*args, cwd=folder).code in (0, 1)
    assert len(file.read_bytes()) == new


def test_what_a_killed_writer_left_is_no_file_of_ours(forks: Forks, folder: Path) -> None:
    """It has no suffix that a command reads a file by, so that no name is taken for it."""
    killed = KILLED.format(at=0, most=2000)
    assert forks.run("report", TINY, "-o", "out.json", cwd=folder, code=killed).code < 0
    (left,) = folder.glob(".out*")
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        json.loads(left.read_text())
    for args in (("report", left.name), ("compare", left.name, TINY)):
        ran = forks.run(*args, cwd=folder)
        assert (ran.code, ran.out) == (2, "")
        assert "Error: " in ran.err
