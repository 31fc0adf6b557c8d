"""How exact each quantity is: against what, in how many cases, with which error.

    python tests/bench/accuracy.py [--write]

Runs the tests that compare it and counts them, and scores the predicted times on the measurements
in tests/data, with every other width held out. Prints a Markdown table; ``--write`` puts it into
README. A case is a model, a constructor call or a scenario; a test that draws its models at random
is one case however many it draws.
"""

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

__all__ = ["ROWS", "Row", "collected"]

ROOT = Path(__file__).parents[2]
MARK = "<!-- accuracy -->\n"


class Row(NamedTuple):
    """A quantity, its witness, and the tests that compare them with ``==``."""

    quantity: str
    witness: str
    tests: tuple[str, ...]


ROWS = (
    Row(
        "parameters, by part; FLOPs; tokens",
        "timm 1.0.31, recorded: every name, and random constructor calls",
        (
            "tests/test_zoo_timm.py::test_name",
            "tests/test_zoo_timm.py::test_random_constructor_call",
        ),
    ),
    Row(
        "parameters, shapes and FLOPs of every module",
        "an installed timm, on meta",
        (
            "tests/test_zoo_timm.py::test_same_as_timm",
            "tests/test_zoo_timm.py::test_tag_same_as_timm",
            "tests/test_zoo_timm.py::test_random_same_as_timm",
            "tests/test_timm_random.py",
        ),
    ),
    Row(
        "parameters and FLOPs of other libraries' models",
        "transformers, torchvision, open_clip",
        (
            "tests/test_files.py::test_a_random_model_of_transformers",
            "tests/test_files.py::test_the_default_model_of_transformers",
            "tests/test_files.py::test_the_vision_tower_of_a_file_of_two",
            "tests/test_files.py::test_a_random_text_tower",
            "tests/test_files.py::test_a_random_pair_of_towers",
            "tests/test_files.py::test_the_default_model_that_reads_text",
            "tests/test_files.py::test_a_random_tower_of_open_clip",
            "tests/test_aliases.py::test_torchvision",
            "tests/test_aliases.py::test_open_clip",
            "tests/test_text.py::test_gpt2",
            "tests/test_text.py::test_clip",
            "tests/test_text.py::test_siglip",
        ),
    ),
    Row(
        "FLOPs forward and backward, calls, shapes",
        "torch's FlopCounterMode, fvcore",
        (
            "tests/test_torch_agreement.py::test_parameters_flops_calls_and_shapes",
            "tests/test_torch_agreement.py::test_fvcore",
            "tests/test_saved.py::test_flops_of_a_step",
        ),
    ),
    Row(
        "parameters, FLOPs, saved bytes, as formulas",
        "the papers' closed forms, on symbols and in numbers",
        (
            "tests/test_textbook.py::test_closed_form",
            "tests/test_textbook.py::test_published_models",
            "tests/test_textbook.py::test_torch_agrees",
            "tests/test_symbols.py::test_the_block_is_the_papers",
            "tests/test_symbols.py::test_the_whole_model_is_the_textbook",
            "tests/test_symbols.py::test_the_text_transformer_is_the_textbook",
            "tests/test_saved_symbols.py::test_the_engine_on_symbols_is_the_textbook",
            "tests/test_saved_symbols.py::test_a_checkpointed_model_is_the_textbook",
        ),
    ),
    Row(
        "`summary`, character for character",
        "torchsummary 1.5.1",
        ("tests/test_summary.py::test_equals_torchsummary_character_for_character",),
    ),
    Row(
        "bytes saved for backward",
        "autograd's saved tensors",
        (
            "tests/test_saved.py::test_a_block",
            "tests/test_saved.py::test_a_model",
            "tests/test_saved.py::test_any_model",
            "tests/test_saved_timm.py",
            "tests/test_torch_agreement.py::test_saved_bytes_of_every_module",
            "tests/test_torch_agreement.py::test_saved_bytes_on_real_tensors",
            "tests/test_backbones.py::test_bytes_of_real_tensors",
        ),
    ),
    Row(
        "peak of activations in inference",
        "storages of real tensors",
        ("tests/test_inference_peak.py",),
    ),
    Row(
        "weights, gradients, optimizer states; of one rank",
        "torch's optimizers and distributed wrappers; published accounts",
        (
            "tests/test_states.py::test_states_are_torchs",
            "tests/test_sharding.py::test_fully_sharded_states_are_torchs",
            "tests/test_sharding.py::test_fully_sharded_states_of_any_model",
            "tests/test_sharding.py::test_dealt_states_are_torchs",
            "tests/test_sharding.py::test_buckets_are_torchs",
            "tests/test_sharding.py::test_accounts_are_the_published_ones",
        ),
    ),
    Row(
        "peak of a training step",
        "torch's memory tracker, every tensor of a step",
        (
            "tests/test_backbones.py::test_peak_of_a_training_step",
            "tests/test_peak.py::test_a_tracked_step",
            "tests/test_peak.py::test_a_step_of_a_model_that_is_frozen_in_part",
            "tests/test_accumulation.py::test_peak_is_torchs",
            "tests/test_accumulation.py::test_averages_are_torchs",
        ),
    ),
)
# what the predicted times are scored on, by the names of timm's benchmark files
TIMES = (
    ("seconds, inference on GPUs, a width that was not fitted", "infer-amp"),
    ("seconds, training on GPUs, a width that was not fitted", "train"),
    ("seconds, on CPUs, a width that was not fitted", "cpu"),
)


def collected() -> dict[str, int]:
    """How many cases of each quantity there are."""
    found = _pytest("--collect-only", *(test for row in ROWS for test in row.tests))
    return {
        row.quantity: sum(
            line.startswith(_starts(row.tests)) for line in found.splitlines(keepends=True)
        )
        for row in ROWS
    }


def _starts(tests: tuple[str, ...]) -> tuple[str, ...]:
    """How the cases of files and of functions begin, those of a function without arguments too."""
    return tuple(
        f"{test}{end}" for test in tests for end in (("[", "\n") if "::" in test else ("::",))
    )


def passed(tests: tuple[str, ...]) -> int:
    """How many cases hold: all that can be run here, or none is counted."""
    found = re.search(r"(\d+) passed", _pytest(*tests))
    return int(found[1]) if found else 0


def _pytest(*args: str) -> str:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *args]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stdout[-4000:])
    return done.stdout


def times() -> list[str]:
    """The errors of predicted times, beside those of a time in proportion to the FLOPs."""
    from vitcost import check_throughput

    score = check_throughput(str(ROOT / "tests" / "data" / "throughput.csv"), held_out=True)
    rows = []
    for quantity, word in TIMES:
        files = [file for file in score.files if word in file.file]
        # those that the error is of: the plain models
        cases = sum(file.bases["held out"] for file in files)
        mape = sum(file.mape for file in files) / len(files)
        flops = sum(file.flops_mape for file in files) / len(files)
        witness = f"timm's published benchmarks, {len(files)} files"
        error = f"mean {100 * mape:.1f} %; time ∝ FLOPs: {100 * flops:.0f} %"
        rows.append(f"| {quantity} | {witness} | {cases:,} | {error} |")
    return rows


def main() -> None:
    lines = ["| quantity | against | cases | error |", "|---|---|---:|---|"]
    for row in ROWS:
        lines.append(f"| {row.quantity} | {row.witness} | {passed(row.tests):,} | 0 |")
        print(lines[-1], file=sys.stderr, flush=True)
    lines += times()
    table = "\n".join(lines) + "\n"
    print(table, end="")
    if "--write" in sys.argv:
        readme = ROOT / "tests" / "README.md"
        before, _, after = readme.read_text(encoding="utf-8").partition(MARK)
        rest = after.partition("\n\n")[2]
        readme.write_text(f"{before}{MARK}{table}\n{rest}", encoding="utf-8")


if __name__ == "__main__":
    main()
