"""The digest of timm's names without a formula: against traces made anew, and torch on meta."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent / "digest"))

from compare import PRECISIONS, differences
from make import _TIMM, HUB_IDS, main, names, traced
from measured_support import DATA
from on_meta import differs
from other_classes import other_classes
from peaks import winners

import vitcost
from vitcost import report
from vitcost.config.scenario import Scenario
from vitcost.errors import NotCovered
from vitcost.traced.alive import Look
from vitcost.traced.digest import BY_CLASS, Digest, index, read
from vitcost.traced.digested import DigestedModel
from vitcost.zoo import Resolved, resolve
from vitcost.zoo.digests import TIMM

# a spread of families, each in one precision by turns
ANEW = (
    "resnet10t", "convnext_atto", "mixer_s32_224", "cs3darknet_focus_s", "convit_tiny",
    "cpubone_nano", "cspnext_tiny", "dla34", "fasternet_t0", "lcnet_050", "legacy_seresnet18",
    "lowformer_e1", "mambaout_femto", "inception_next_atto", "nf_resnet26", "pvt_v2_b0",
    "starnet_s1", "swiftformer_xs", "resmlp_12_224", "ese_vovnet19b_slim", "tinynet_e",
    "test_vit_relpos", "test_coatnet", "regnetx_002",
)  # fmt: skip
MORE = (
    "coat_lite_tiny", "edgenext_xx_small", "botnet26t_256", "pit_ti_224", "selecsls42",
    "rexnet_100", "mobilenetv1_100", "convmixer_1536_20", "vgg11", "legacy_xception",
    "visformer_small", "nest_tiny", "hiera_tiny_224", "darknet17", "levit_128s",
    "tiny_vit_5m_224",
)  # fmt: skip


def entries() -> dict[str, str]:
    return {name: entry.kind for name, entry in index(str(TIMM)).entries.items()}


def test_a_digest_is_of_names_without_a_formula() -> None:
    assert set(entries()) <= set(names())
    assert TIMM.stat().st_size <= 8 * 10**6


@pytest.mark.parametrize(
    ("name", "precision"),
    [(name, PRECISIONS[i % len(PRECISIONS)]) for i, name in enumerate(ANEW)],
)
def test_a_digest_answers_as_the_trace_that_is_made_anew(name: str, precision: str) -> None:
    found = traced(name, (precision,), more=False)
    assert list(differences(name, found, (precision,), (1, 7))) == []


@pytest.mark.parametrize("name", [*ANEW, *MORE])
def test_parameters_and_flops_are_torchs_on_meta(name: str) -> None:
    """Trainable parameters are torch's too; ``tests/digest/on_meta.py`` holds every name."""
    assert differs(name) == ""


def test_a_digest_of_another_model_is_not_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    other = report("resnet14t", batch=2)
    monkeypatch.setattr(vitcost, "report", lambda name, batch: other)
    assert "params is" in differs("resnet10t")


def test_a_name_that_no_trace_follows_has_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sequencer2D is of LSTMs. Each reads its tokens along a side of the map in both directions:
    of h hidden numbers 2 · 4h · (width + h) multiply-adds a token."""
    name = "sequencer2d_s"
    with pytest.MonkeyPatch.context() as once:
        # a library of this name alone, whose file is another
        own = _TIMM._replace(file=tmp_path / "digest.bin", names=lambda: [name])
        once.setattr("make._TIMM", own)
        assert main(["trace", str(tmp_path)]) == 1
        assert main(["pack", str(tmp_path)]) == 0
    assert "0 names in" in (said := capsys.readouterr().out)
    assert "1 are missing, 1 of them with a reason" in said
    row = index(str(own.file)).refused[name]
    # stages of 4, 3, 8 and 3 blocks: patches a side, width, hidden numbers
    stages = [(4, 32, 192, 48), (3, 16, 384, 96), (8, 16, 384, 96), (3, 16, 384, 96)]
    rnns = sum(2 * n * side**2 * 2 * 4 * h * (w + h) for n, side, w, h in stages)
    # both rnns joined, and an MLP of three times the width
    rest = sum(n * side**2 * (4 * h * w + 2 * 3 * w * w) for n, side, w, h in stages)
    stem, down, head = 32**2 * 3 * 49 * 192, 16**2 * 4 * 192 * 384, 384 * 1000
    # after the third and fourth stage maps stay as they are
    after = 2 * 16**2 * 384 * 384
    assert row.macs == rnns + rest + stem + down + after + head
    assert "LSTM" in row.reason
    monkeypatch.setattr("vitcost.zoo.digests.TIMM", own.file)
    with pytest.raises(NotCovered, match=r"27,651,688 parameters and .* MACs an image; .*LSTM"):
        report(name)
    (found,) = vitcost.models(name).found
    assert (found.params, found.basis) == (27_651_688, "counted")
    compared = vitcost.compare("vit_tiny_patch16_224", "sequencer2d*")
    assert [each.model for each in compared.compared] == ["vit_tiny_patch16_224"]


@pytest.mark.parametrize(
    ("name", "classes", "precision"),
    [
        ("resnet10t", 10, "fp32"),
        ("mixer_s32_224", 21841, "amp-bf16"),
        ("lcnet_050", 37, "bf16"),
        ("test_vit_relpos", 1, "amp-bf16"),
    ],
)
def test_other_classes_are_the_trace_with_as_many(name: str, classes: int, precision: str) -> None:
    assert other_classes(name, classes, precision, (1, 7)) == []


def test_other_classes_need_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """ResNet-10-T has 512 features: a class is 513 parameters and 512 products."""
    monkeypatch.setattr("vitcost.zoo.tracing.of_timm", lambda name: None)
    thousand, ten = report("resnet10t"), report("resnet10t", num_classes=10)
    assert ten.params == thousand.params - 990 * 513
    assert ten.flops.forward == thousand.flops.forward - 2 * 990 * 512
    assert ten.training.gradients_bytes == 4 * ten.params
    assert report("resnet10t", num_classes=1000).training == thousand.training
    again = resolve(resolve("resnet10t", num_classes=10), num_classes=1000)
    assert again.config.workload(Scenario()).rows().cost.params == thousand.params
    # a convolution scores its classes
    with pytest.raises(NotCovered, match=r"another num_classes: .* pip install"):
        report("resnetv2_50x1_bit", num_classes=10)
    # and here two layers do
    with pytest.raises(NotCovered, match=r"another num_classes: .* pip install"):
        report("pit_ti_distilled_224", num_classes=10)


def test_a_digest_that_says_nothing_of_a_class_gives_a_bound() -> None:
    """An older form, which some names may have, is the newer one without these columns."""
    digest = read(str(TIMM), "resnet10t")
    block = {**digest._block, "passes": [dict(each) for each in digest._block["passes"]]}
    for each in block["passes"]:
        each["columns"] = {k: v for k, v in each["columns"].items() if not k.endswith(BY_CLASS)}
    model: Any = DigestedModel("r", Digest(digest.entry, digest.index, block), "", lambda: None)
    found = report(Resolved("r", "an older form", model), batch=64, num_classes=10)
    assert found.training.peak_is == "bounded"
    assert "1,000 classes" in (found.training.missing or "")
    assert "at most" in str(found)
    most = report("resnet10t", batch=64).training.peak_bytes
    # states of 990 · 513 parameters are no part of a bound: weights, two moments
    assert found.training.peak_bytes == (most or 0) - 990 * 513 * 4 * 3


def test_a_tag_with_other_classes_is_by_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """ConvNeXt-Base for ImageNet-22k is published with 21,841 classes of 1,024 features."""
    monkeypatch.setattr("vitcost.zoo.tracing.of_timm", lambda name: None)
    own, tag = report("convnext_base"), report("convnext_base.fb_in22k")
    assert tag.params == own.params + 20_841 * 1025


CODE = """
import sys
import vitcost
report = vitcost.report(sys.argv[1], batch=2, gpu="l4", precision="amp-bf16")
assert report.basis == sys.argv[2]
for name in ("torch", "timm", "numpy", "vitcost.traced.digest"):
    print(name, name in sys.modules)
"""


@pytest.mark.parametrize(
    ("name", "basis", "loads"),
    [("resnet10t", "traced", True), ("vit_tiny_patch16_224", "formula", False)],
)
def test_a_digest_needs_no_torch_and_a_formula_no_digest(
    name: str, basis: str, loads: bool
) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", CODE, name, basis], capture_output=True, text=True, check=True
    )
    there = dict(line.split() for line in ran.stdout.splitlines())
    digest = there.pop("vitcost.traced.digest")
    assert set(there.values()) == {"False"}
    assert digest == str(loads) or not loads


def test_what_a_digest_has_not_says_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    config: Any = resolve("resnet10t").config
    monkeypatch.setattr(config, "tracer", lambda: None)
    for scenario in (
        Scenario(platform="cpu"),
        Scenario(mode="train", checkpointing="block"),
        Scenario(mode="train", freeze="backbone"),
    ):
        with pytest.raises(NotCovered, match=r"fp32, amp-bf16, bf16, .* pip install"):
            config.workload(scenario)
    with pytest.raises(NotCovered, match="calls no scaled_dot_product_attention"):
        config.workload(Scenario(attention="flash"))
    with pytest.raises(NotCovered, match="a digest has its peak alone"):
        vitcost.report("resnet10t").moments()


def test_a_planted_difference_is_found() -> None:
    """The comparison can fail: a digest is held against the trace of another model."""
    assert list(
        differences("resnet10t", traced("resnet14t", ("bf16",), more=False), ("bf16",), (7,))
    )


def test_a_look_that_never_wins_is_left_out() -> None:
    """Lines 10 + b, 4 + 2·b and 12 + b: of every batch from 2 on the third wins up to 8, where the
    second is as high and comes first; then the second. The end stays."""
    none = (0,)
    looks = [Look(i, (none, none, each)) for i, each in enumerate([(10, 1), (4, 2), (12, 1)])]
    kept = winners([*looks, Look(3, (none, none, none))], 2)
    assert [look.number for look in kept] == [1, 2, 3]
    assert [look.number for look in winners([*looks[:1], Look(1, (none,) * 3)], 2)] == [0, 1]


def test_a_look_that_is_a_square_of_the_batch_wins_where_it_is_the_highest() -> None:
    """b² is more than 100 from 11 on, where it is 121; 12·b − b² more than 26 from 3, where it is
    27, to 9, and never more than 36."""
    none = (0,)

    def kept(*sizes: tuple[int, ...]) -> list[int]:
        looks = [Look(i, (none, none, size)) for i, size in enumerate([*sizes, none])]
        return [look.number for look in winners(looks, 2)]

    assert kept((100,), (0, 0, 1)) == [0, 1, 2]
    assert kept((100,), (0, 12, -1)) == [0, 2]  # 36 at most
    assert kept((26,), (0, 12, -1)) == [0, 1, 2]
    assert kept((35,), (0, 12, -1)) == [0, 1, 2]  # 36 at 6 alone
    assert kept((36,), (0, 12, -1)) == [0, 2]  # as high at 6, and later


def test_a_budget_and_a_difference_say_what_they_are_of(tmp_path: Path) -> None:
    limits = '[[tool.vitcost.budget]]\nmodel = "resnet10t"\nnum_classes = 10\nparams = "5 M"\n'
    (tmp_path / "pyproject.toml").write_text(limits)
    page = str(vitcost.budget(str(tmp_path / "pyproject.toml")))
    assert f"from the digest of a trace with torch {index(str(TIMM)).torch}" in page
    (tmp_path / "was.json").write_text(json.dumps(report("resnet10t", batch=8).to_dict()))
    saved = str(tmp_path / "was.json")
    (same,) = vitcost.diff(saved).models
    assert not [each for each in same.differences() if each.changed]
    (other,) = vitcost.diff(saved, "resnet10t", batch=8, num_classes=10).models
    changed = {each.quantity: each.difference for each in other.differences() if each.changed}
    assert changed["params"] == -990 * 513
    # a saved report is asked again with the classes that it was asked with
    (tmp_path / "was.json").write_text(
        json.dumps(report("resnet10t", batch=8, num_classes=10).to_dict())
    )
    (again,) = vitcost.diff(saved).models
    assert not [each for each in again.differences() if each.changed]


def test_every_timing_of_other_families_is_scored() -> None:
    score = vitcost.check_throughput(str(DATA / "throughput_traced.csv"))
    assert [file.rows for file in score.files] == [file.covered for file in score.files]
    assert sum(file.covered for file in score.files) == 99
    assert sum(file.in_band or 0 for file in score.files) >= 0.9 * 99


def test_a_file_is_packed_again_from_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder need not keep the traces of names that are packed."""
    file = tmp_path / "digest.bin"
    file.write_bytes(HUB_IDS.file.read_bytes())
    of = index(str(file))
    key = {"transformers": of.library.partition(" ")[2], "torch": of.torch}
    (tmp_path / "versions.json").write_text(json.dumps(key))
    monkeypatch.setattr("make.HUB_IDS", HUB_IDS._replace(file=file))
    assert main(["hub", "pack", str(tmp_path)]) == 0
    assert file.read_bytes() == HUB_IDS.file.read_bytes()
