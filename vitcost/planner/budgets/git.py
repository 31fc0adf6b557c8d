"""Checks out a commit of the user's repository into a folder of its own, and reports on models
there.

Another process, whose working directory is that worktree, imports the code of the commit: this
process keeps its modules, and the user's checkout is not touched.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from vitcost.errors import ConfigError, nearest, shown
from vitcost.outside.reading import AT_COMMIT, read_json

__all__ = ["Ask", "Commit", "commit_of", "reports_at", "users_files"]


class Commit(NamedTuple):
    """A commit, the name by which the user asked for it, and the top folder of the checkout."""

    ref: str
    hash: str
    top: str


class Ask(NamedTuple):
    """A model to report on: its name in the answer, and the arguments of ``report``."""

    name: str
    model: str
    keywords: Mapping[str, Any]


def commit_of(ref: str) -> Commit:
    """The commit that a ref names; ``A...`` is the commit at which this branch left A.

    Raises ``ConfigError`` outside of a repository, and for a name that is not a ref.
    """
    top = _git("rev-parse", "--show-toplevel")
    name = ref.removesuffix("...")
    try:
        commit = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    except ConfigError:
        refs = _git("for-each-ref", "--format=%(refname:short)").splitlines()
        guesses = ", ".join(nearest(name, refs))
        hint = f"did you mean {guesses}?" if guesses else "in a shallow clone, fetch it first"
        raise ConfigError(f"no file and no git ref {shown(ref)}; {hint}") from None
    if name != ref:
        commit = _git("merge-base", commit, "HEAD")
    return Commit(ref, commit, top)


def reports_at(
    commit: Commit, asks: Sequence[Ask], config: str | None
) -> "list[dict[str, Any] | str]":
    """The JSON of a report on each model as the commit has it, or the reason why there is none.

    If the commit's own ``config`` has a budget of the same name, that budget is what is asked
    there. Raises ``ConfigError`` for a commit that cannot be read, and for a flag that is not text.
    """
    with _worktree(commit) as tree, TemporaryDirectory(prefix="vitcost-") as folder:
        question, answer = Path(folder) / "question.json", Path(folder) / "answer.json"
        moved = [each._replace(model=_moved(each.model, commit.top, tree)) for each in asks]
        asked = {
            "config": config and _moved(config, commit.top, tree),
            "asks": [each._asdict() for each in moved],
            "checkout": commit.top,
            "answer": str(answer),
        }
        try:
            question.write_text(json.dumps(asked), encoding="utf-8")
        except TypeError as error:
            raise ConfigError(f"a flag of a model at {commit.ref} must be text: {error}") from None
        here = Path(tree) / os.path.relpath(Path.cwd().resolve(), commit.top)
        if not here.is_dir():
            return [f"{commit.ref} has no folder {here.relative_to(tree)}"] * len(asks)
        done = subprocess.run(
            [sys.executable, "-P", "-m", "vitcost.planner.budgets.at_commit", str(question)],
            cwd=here,
            env={**os.environ, "PYTHONPATH": _path(commit.top, tree)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        if done.returncode or not answer.is_file():
            reason = f"the process that reads its models ended with code {done.returncode}"
            raise ConfigError(f"{commit.ref}: {reason}")
        models: list[dict[str, Any] | str] = read_json(answer, AT_COMMIT)["models"]
        return [
            each.replace(f"{tree}{os.sep}", "") if isinstance(each, str) else each
            for each in models
        ]


@contextmanager
def _worktree(commit: Commit) -> Iterator[str]:
    """Checks out the files of a commit into a temporary folder, which is deleted at the end."""
    with TemporaryDirectory(prefix="vitcost-", ignore_cleanup_errors=True) as folder:
        tree = str(Path(folder).resolve() / "tree")
        # the user's hooks are meant only for the user's own checkouts
        quiet = "-c", f"core.hooksPath={os.devnull}"
        _git(*quiet, "worktree", "add", "--detach", "--quiet", tree, commit.hash)
        try:
            yield tree
        finally:
            _git("worktree", "remove", "--force", tree)


# inside a hook these variables point git to the index of the commit being made, which must not be
# changed
_OF_HOOKS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")
# git must not ask for a password, and leaves large files as pointers
_QUIET = {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_LFS_SKIP_SMUDGE": "1"}


def _git(*args: str) -> str:
    env = {name: value for name, value in os.environ.items() if name not in _OF_HOOKS} | _QUIET
    try:
        done = subprocess.run(
            ["git", *args], capture_output=True, env=env, stdin=subprocess.DEVNULL
        )
    except (OSError, ValueError) as error:
        raise ConfigError(f"git cannot be run: {error}") from None
    if done.returncode:
        reason = done.stderr.decode("utf-8", "replace").strip().partition("\n")[0]
        raise ConfigError(f"git {args[0]}: {reason or f'exit {done.returncode}'}")
    return done.stdout.decode("utf-8", "surrogateescape").strip()


def _moved(path: str, top: str, tree: str) -> str:
    """A path inside the checkout, moved to the same place in the worktree; other paths are
    unchanged."""
    return tree + path.removeprefix(top) if path.startswith(f"{top}{os.sep}") else path


def _path(top: str, tree: str) -> str:
    """The module path of the process: the folders of the checkout from which this process imported,
    moved to the worktree, and the folder of this package."""
    folders = [*os.environ.get("PYTHONPATH", "").split(os.pathsep), *sys.path, *_roots()]
    inside = [
        _moved(str(Path(each).resolve()), top, tree)
        for each in folders
        if each and Path(each).resolve().is_relative_to(top)
    ]
    # a checkout installed in editable mode is imported by hooks, so its folders are not on the path
    moved = [each for each in inside if each.startswith(tree) and Path(each).is_dir()]
    outside = [
        each
        for each in os.environ.get("PYTHONPATH", "").split(os.pathsep)
        if each and not Path(each).resolve().is_relative_to(top)
    ]
    package = str(Path(__file__).resolve().parents[3])
    return os.pathsep.join(dict.fromkeys([*moved, *outside, package]))


def _roots() -> Iterator[str]:
    """The folders from which this process imported its top-level modules."""
    for name, path in users_files():
        if "." not in name:
            yield str(path.parents[1] if path.stem == "__init__" else path.parent)


def users_files() -> Iterator[tuple[str, Path]]:
    """The modules of this process that no package manager installed, each with its file.

    >>> all(file.suffix for _, file in users_files())
    True
    """
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and "site-packages" not in file:
            yield name, Path(file)
