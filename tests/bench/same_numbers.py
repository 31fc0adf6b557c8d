"""Every number of 2,000 reports, fits, plans and sweeps, to compare two states of the code.

    PYTHONPATH=. python tests/bench/same_numbers.py write FILE [--every N]
    PYTHONPATH=. python tests/bench/same_numbers.py compare FILE [--every N]

A question is drawn from its number, so that it is the same in both states. ``write`` keeps the JSON
of each answer, a line a question; a refusal is an answer too. ``compare`` asks again, prints the
first number that differs of each question, and exits 1 where one does. ``--every 10`` asks one
question in ten.
"""

import argparse
import gzip
import json
import sys
from collections.abc import Iterator
from random import Random
from typing import Any

import vitcost
from vitcost.config.scenario import OPTIMIZERS, RECIPES
from vitcost.hardware.specs import CARDS
from vitcost.zoo import names

# how many questions of each command
ASKED = {"report": 1200, "fit": 400, "plan": 200, "sweep": 200}
FLAGS: dict[str, tuple[Any, ...]] = {
    "precision": ("amp-bf16", "amp-fp16", "bf16", "fp16"),
    "attention": ("eager", "math", "flash", "efficient"),
    "optimizer": tuple(OPTIMIZERS),
    "checkpointing": ("selective", "block", "every:2", "every:3"),
    "freeze": ("backbone", "first:1", "all-but-last:1"),
    "lora": (2, 8),
    "ranks": (2, 8),
    "zero": (1, 2, 3),
    "recipe": tuple(RECIPES),
    "ema": (1,),
    "accumulate": (2,),
    "zero_grad": ("zeros",),
    "buckets": ("views",),
    "layout": ("nhwc",),
    "compile": (True,),
    "platform": ("cpu",),
}
FIELDS: dict[str, tuple[Any, ...]] = {
    "img_size": (112, 224, 448),
    "num_classes": (0, 5, 21843),
    "depth": (1, 2, 7, 24),
    "qkv_bias": (False,),
    "qk_norm": (True,),
    "init_values": (1e-5,),
    "drop_path_rate": (0.1,),
    "proj_drop_rate": (0.1,),
    "attn_drop_rate": (0.1,),
    "global_pool": ("avg", "map"),
    "act_layer": ("quick_gelu", "silu"),
}
# flags that a fit takes of a training step alone
TRAINING = {
    "optimizer", "checkpointing", "freeze", "zero", "recipe", "ema", "accumulate", "zero_grad",
    "buckets",
}  # fmt: skip
QUANTITIES = ("params", "flops", "bytes_moved", "saved_activations", "inference_memory")


def questions() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """A command, a model and keywords, for each number."""
    models, cards = names(), sorted(CARDS)
    number = 0
    for command, count in ASKED.items():
        for _ in range(count):
            draw = Random(number)
            number += 1
            # every model in turn, so that a report has each
            model = models[number % len(models)] if command == "report" else draw.choice(models)
            keywords = globals()[f"_{command}"](draw, cards)
            yield command, model, keywords


def _some(draw: Random, of: dict[str, tuple[Any, ...]], most: int) -> dict[str, Any]:
    return {name: draw.choice(of[name]) for name in draw.sample(list(of), draw.randint(0, most))}


def _flags(draw: Random, without: tuple[str, ...] = ()) -> dict[str, Any]:
    found = {**_some(draw, FLAGS, 3), **_some(draw, FIELDS, 1)}
    if "zero" in found:
        found["ranks"] = 8
    if "recipe" in found:
        found = {name: found[name] for name in found if name not in ("precision", "optimizer")}
    return {name: value for name, value in found.items() if name not in without}


def _report(draw: Random, cards: list[str]) -> dict[str, Any]:
    own = {"batch": draw.choice((1, 2, 8, 64)), "mode": draw.choice(("infer", "train"))}
    flags = _flags(draw)
    timed = {"gpu": draw.choice(cards)} if draw.random() < 0.4 and "platform" not in flags else {}
    return {**own, **timed, **flags}


def _fit(draw: Random, cards: list[str]) -> dict[str, Any]:
    own = {"mode": draw.choice(("infer", "train")), "require": draw.choice((1, 64, 1024))}
    named = {"gpu": draw.choice(cards)} if draw.random() < 0.7 else {}
    wanted = {"largest": ["img_size", "depth"]} if draw.random() < 0.2 else {}
    kept = {"reserve": draw.choice((0, "5 %"))} if draw.random() < 0.3 else {}
    flags = _flags(draw, ("platform",))
    if flags.keys() & TRAINING:
        own["mode"] = "train"
    return {**own, **named, **wanted, **kept, **flags}


def _plan(draw: Random, cards: list[str]) -> dict[str, Any]:
    own = {
        "samples": 1_281_167,
        "epochs": draw.choice((1, 300)),
        "global_batch": draw.choice((64, 1024, 4096)),
        "gpu": draw.choice(cards),
    }
    if draw.random() < 0.2:
        own["deadline"] = draw.choice(("1d", "10d"))
    else:
        own["gpus"] = draw.choice((1, 2, 8))
        if draw.random() < 0.3:
            own |= {"nodes": 2, "network": 25e9, "gpus": 8}
    some = {
        "efficiency": (0.4,),
        "checkpointing": ("none", "block"),
        "pipeline_parallel": (2, 4),
        "tensor_parallel": (1, 2),
        "micro_batch": (1, 16),
        "price": (2.5,),
        "overlap": (0.5,),
    }
    without = ("ranks", "zero", "accumulate", "checkpointing", "platform")
    return {**own, **_flags(draw, without), **_some(draw, some, 3)}


def _sweep(draw: Random, cards: list[str]) -> dict[str, Any]:
    of: dict[str, tuple[Any, ...]] = {
        "batch": (1, 2, 64),
        "depth": (1, 6, 12),
        "img_size": (112, 224),
        "num_classes": (0, 1000),
        "precision": ("fp32", "amp-bf16"),
        "optimizer": ("sgd", "adamw"),
        "checkpointing": ("none", "block"),
    }
    varied = {name: list(of[name]) for name in draw.sample(list(of), 2)}
    wanted = [*QUANTITIES, "train_memory"] if draw.random() < 0.5 else list(QUANTITIES)
    flags = {n: v for n, v in _flags(draw).items() if n not in varied}
    return {"vary": varied, "quantities": wanted, **flags}


def answer(command: str, model: str, keywords: dict[str, Any]) -> Any:
    """The JSON of an answer, or the sentence of a refusal."""
    try:
        found = getattr(vitcost, command)(model, **keywords)
        data = list(found.rows()) if command == "sweep" else found.to_dict()
    except vitcost.VitcostError as error:
        return str(error)
    return json.loads(json.dumps(data))


def differing(was: Any, now: Any, path: str = "") -> Iterator[str]:
    """Every place where two answers differ."""
    if isinstance(was, dict) and isinstance(now, dict):
        for key in {**was, **now}:
            yield from differing(was.get(key), now.get(key), f"{path}.{key}")
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for i, pair in enumerate(zip(was, now, strict=True)):
            yield from differing(*pair, f"{path}[{i}]")
    elif was != now:
        yield f"{path}: {str(was)[:120]} is {str(now)[:120]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("write", "compare"))
    parser.add_argument("file")
    parser.add_argument("--every", type=int, default=1)
    asked = parser.parse_args()
    if asked.what == "write":
        with gzip.open(asked.file, "wt") as file:
            for i, each in enumerate(questions()):
                if i % asked.every == 0:
                    file.write(json.dumps([i, answer(*each)]) + "\n")
        return
    with gzip.open(asked.file, "rt") as file:
        before = dict(map(json.loads, file))
    wrong = same = refused = 0
    for i, each in enumerate(questions()):
        if i % asked.every or i not in before:
            continue
        places = list(differing(before[i], answer(*each)))
        wrong, same = wrong + bool(places), same + (not places)
        refused += isinstance(before[i], str)
        if places:
            print(f"{i} {each}\n    {len(places)} differ: {places[0]}", flush=True)
    print(f"{same:,} answers are the same, {refused:,} of them refusals; {wrong:,} differ")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
