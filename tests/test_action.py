"""The action for workflows: its steps run as a runner runs them, on a pull request."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from test_budget import sample_params
from test_ci_formats import parsed, scanned
from test_diff import folder, git, grow, repository

ROOT = Path(__file__).parents[1]
ACTION = ROOT / ".github" / "actions" / "vitcost" / "action.yml"
# fixtures
__all__ = ["folder", "repository"]

# what gh would be asked, and an earlier comment of this action where one is said to be there
GH = """\
#!/bin/sh
echo "$@" >> "$CALLS"
case "$*" in *--paginate*) printf '%s' "$EARLIER" ;; esac
exit ${GH_CODE:-0}
"""


class Ran(NamedTuple):
    codes: dict[str, int]
    out: str
    summary: str
    calls: list[str]
    temp: Path


def action() -> dict[str, Any]:
    yaml = pytest.importorskip("yaml")
    found: dict[str, Any] = yaml.safe_load(ACTION.read_text(encoding="utf-8"))
    return found


def ran(pull: Path, inputs: dict[str, str], **env: str) -> Ran:
    """Every step of the action as its runner runs it, until one fails."""
    declared = action()
    values = {name: each["default"] for name, each in declared["inputs"].items()} | inputs
    temp = pull.parent / f"temp{len(list(pull.parent.iterdir()))}"
    (temp / "bin").mkdir(parents=True)
    gh = temp / "bin" / "gh"
    gh.write_text(GH, encoding="utf-8")
    gh.chmod(0o755)
    # the environment's own vitcost, installed or not
    said = f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m vitcost "$@"\n'
    (temp / "bin" / "vitcost").write_text(said, encoding="utf-8")
    (temp / "bin" / "vitcost").chmod(0o755)
    runner = {
        **os.environ,
        "PATH": f"{temp / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "RUNNER_TEMP": str(temp),
        "GITHUB_STEP_SUMMARY": str(temp / "summary"),
        "GITHUB_OUTPUT": str(temp / "output"),
        "GITHUB_BASE_REF": "main",
        "GITHUB_REPOSITORY": "a/b",
        "CALLS": str(temp / "calls"),
        **env,
    }
    context = {f"inputs.{name}": value for name, value in values.items()}
    context |= {"github.token": "t", "github.event.pull_request.number": "7"}
    codes, out = {}, ""
    for step in declared["runs"]["steps"]:
        if not holds(step.get("if", ""), context):
            continue
        assert step["shell"] == "bash"
        # a value that is put into a script is a command of whoever gives it
        assert "${{" not in step["run"]
        own = {
            name: re.sub(r"\$\{\{ (\S+) \}\}", lambda found: context[found[1]], value)
            for name, value in step["env"].items()
        }
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]],
            cwd=pull, env={**runner, **own}, capture_output=True, text=True, timeout=100,
        )  # fmt: skip
        codes[step["name"]] = done.returncode
        out += done.stdout + done.stderr
        if done.returncode:
            break
    calls, summary = temp / "calls", temp / "summary"
    return Ran(
        codes,
        out,
        summary.read_text(encoding="utf-8") if summary.exists() else "",
        calls.read_text(encoding="utf-8").splitlines() if calls.exists() else [],
        temp,
    )


def holds(condition: str, context: dict[str, str]) -> bool:
    """A condition of a step: parts that are joined by ``&&``, each a value or a comparison."""
    for part in filter(None, condition.split(" && ")):
        name, sign, wanted = part.partition(" == ") if " == " in part else part.partition(" != ")
        value, wanted = context[name], wanted.strip("'")
        kept = {"": value != "", " == ": value == wanted, " != ": value != wanted}
        if not kept[sign]:
            return False
    return True


@pytest.fixture
def pull(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with the files of a pull request that adds a block."""
    clone = tmp_path_factory.mktemp("clones") / "pull"
    git("clone", "--quiet", "--depth", "1", f"file://{repository}", str(clone))
    git("-C", str(clone), "update-ref", "-d", "refs/remotes/origin/main")
    os.chdir(clone)
    grow(3)
    return clone


def test_a_pull_request_is_commented_annotated_and_failed(pull: Path) -> None:
    config = pull / "pyproject.toml"
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace('"1 M"', '"0.1 M"'), encoding="utf-8")
    found = ran(pull, {"install": ""})
    assert found.codes == {"Difference": 0, "Comment": 0, "Budgets": 1}
    was, now = sample_params(2, 10), sample_params(3, 10)
    assert (
        f"::error file=pyproject.toml,line=5,title=vitcost budget%3A small::params is {now:,}"
        in (found.out)
    )
    assert f"small: params {was:,} → {now:,}" in found.summary
    assert "## Budget exceeded" in found.summary
    listing, posting = found.calls
    assert listing.startswith("api --paginate repos/a/b/issues/7/comments --jq")
    body = found.temp / "vitcost-comment.md"
    assert posting == f"api --silent --method POST repos/a/b/issues/7/comments -F body=@{body}"
    assert body.read_text(encoding="utf-8").startswith("<!-- vitcost diff -->\n## Cost against ")
    parsed((found.temp / "vitcost.xml").read_text(encoding="utf-8"))
    scanned((found.temp / "vitcost.sarif").read_text(encoding="utf-8"))
    outputs = dict(line.split("=") for line in (found.temp / "output").read_text().splitlines())
    assert all(Path(each).is_file() for each in outputs.values())
    named = {
        re.findall(r"outputs\.(\w+)", each["value"])[0] for each in action()["outputs"].values()
    }
    assert named == set(outputs)
    # the comment that is there is written anew, and a budget may only inform
    found = ran(pull, {"install": "", "exit-zero": "true"}, EARLIER="41\n")
    assert found.codes == {"Difference": 0, "Comment": 0, "Budgets": 0}
    assert "--method PATCH repos/a/b/issues/comments/41 " in found.calls[1]


def test_what_a_runner_may_not_or_need_not_do(pull: Path) -> None:
    # the token of a fork only reads
    found = ran(pull, {"install": "", "base": "HEAD"}, GH_CODE="1")
    assert found.codes == {"Difference": 0, "Comment": 0, "Budgets": 0}
    assert "::notice title=vitcost::the difference could not be written" in found.out
    found = ran(pull, {"install": "", "base": "nosuch", "comment": "false"})
    assert found.codes == {"Difference": 1}
    assert "no file and no git ref 'nosuch'" in found.out
