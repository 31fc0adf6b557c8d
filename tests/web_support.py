"""The page of ``vitcost web`` in a real browser, from a folder on the loopback: Pyodide by npm."""

import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random
from threading import Thread
from typing import Any

import pytest

import vitcost
from vitcost.config.scenario import CHOICES
from vitcost.config.vit_config import ViTConfig
from vitcost.hardware.specs import card_names
from vitcost.web import PYODIDE
from vitcost.web.served import server
from vitcost.zoo import names, resolve

__all__ = [
    "FLAGS",
    "browsing",
    "needed",
    "pyodide",
    "questions",
    "said_by_python",
    "serving",
    "unpack",
]

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def needed(program: str) -> str:
    """The path of a program; without it a test skips, and fails where ``CI`` is set."""
    path = shutil.which(program)
    if path is None:
        said = f"no {program}: README's system packages install it"
        pytest.fail(said) if os.environ.get("CI") else pytest.skip(said)
    assert path is not None
    return path


def unpack(archive: tarfile.TarFile, folder: Path) -> None:
    """Unpacks what no path leads out of; Python 3.11.2 has no filter yet."""
    filters: Any = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    archive.extractall(folder, **filters)


def pyodide(folder: Path) -> str:
    """The pinned release of Pyodide, as npm packs it."""
    command = [needed("npm"), "pack", "--silent", f"pyodide@{PYODIDE}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        pytest.fail(f"npm pack pyodide@{PYODIDE}: {done.stderr[-500:]}")
    with tarfile.open(folder / f"pyodide-{PYODIDE}.tgz") as archive:
        unpack(archive, folder)
    return str(folder / "package")


@contextmanager
def serving(folder: str) -> Iterator[str]:
    """The address of a folder that is served."""
    with server(folder) as running:
        thread = Thread(target=running.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{running.server_address[1]}/"
        finally:
            running.shutdown()
            thread.join()


@contextmanager
def browsing() -> Iterator[Any]:
    """Debian's chromium, without a screen."""
    path = needed("chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


def questions(number: int) -> list[dict[str, str]]:
    """Random questions as a form gives them: every control, models of every kind."""
    random = Random(21)
    known = names()
    cards = [*card_names()][::4]

    def some(values: Any, default: Any) -> str:
        return str(random.choice([default, default, *values]))

    found = []
    for _ in range(number):
        name = random.choice(known)
        config = resolve(name).config
        vision = isinstance(config, ViTConfig)
        depth = config.depth if isinstance(config, ViTConfig) else 1
        mode = random.choice(CHOICES["mode"])
        question = {
            "model": name,
            "batch": str(random.choice([1, 2, 8, 64, random.randint(1, 500)])),
            "mode": mode,
            "precision": some(CHOICES["precision"], "amp-bf16"),
            "attention": some(CHOICES["attention"], "sdpa"),
            "gpu": random.choice(["", "l4", "h100-sxm", "mine,memory_gb=12", *cards]),
            "lora": some([4, 16], "") if vision else "",
            "ranks": some([2, 8], ""),
            "num_classes": some([0, 5, 21843], "") if vision else "",
        }
        if mode == "train":
            question |= {
                "optimizer": some(CHOICES["optimizer"], "adamw"),
                "checkpointing": some(["selective", "block", f"first:{depth}", "every:2"], ""),
                "freeze": some(["backbone", "first:1"], ""),
                "accumulate": some([4], ""),
                "zero": some([1, 2, 3], 0) if question["ranks"] else "0",
            }
        found.append({key: value for key, value in question.items() if value})
    return found


def said_by_python(ask: Callable[[], Any]) -> Mapping[str, Any]:
    """The JSON of an answer, or its message, as a browser would read it."""
    try:
        text = json.dumps(ask().to_dict())
    except vitcost.VitcostError as error:
        text = json.dumps({"error": str(error)})
    found: Mapping[str, Any] = json.loads(text)
    return found
