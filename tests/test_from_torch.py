"""Torch modules read back into a config, and those that can only be measured."""

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from counting_support import buffer_bytes, counted, transformer
from timm_support import timm, torchvision
from torch import nn

import vitcost
from vitcost import ConfigError, NotCovered, ViTConfig, from_torch, report
from vitcost.check.reference import build as reference
from vitcost.cli import run
from vitcost.engine.model import structure_of
from vitcost.traced.traced_model import TracedModel
from vitcost.zoo import Resolved, resolve
from vitcost.zoo.families import FAMILIES

timm()
import timm.layers as layers  # noqa: E402
from timm.models import beit, deit, eva, vision_transformer  # noqa: E402

DATA = Path(__file__).parent / "data"


def recorded(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


RANDOM = recorded("timm_vit_random.csv")
# names far apart, so that every family and every feature is met
NAMED = [
    "aimv2_large_patch14_224", "beit_base_patch16_224", "beitv2_large_patch16_224",
    "beit3_base_patch16_224", "deit3_small_patch16_224", "deit_tiny_distilled_patch16_224",
    "eva02_tiny_patch14_224", "eva02_base_patch16_clip_224", "eva_large_patch14_196",
    "flexivit_small", "test_vit", "test_vit2", "test_vit3", "test_vit4",
    "vit_base_patch16_18x2_224", "vit_base_patch16_rpn_224", "vit_base_patch16_siglip_gap_224",
    "vit_base_patch16_xp_224", "vit_base_patch32_clip_quickgelu_224",
    "vit_dlittle_patch16_reg1_gap_256", "vit_dpwee_patch16_reg1_gap_256",
    "vit_pe_core_tiny_patch16_384", "vit_pwee_patch16_reg1_gap_256",
    "vit_small_patch14_reg4_dinov2", "vit_small_patch16_dinov3", "vit_small_patch16_lingbot",
    "vit_small_patch16_rope_mixed_ape_224", "vit_so150m_patch16_reg4_map_256",
    "vit_tiny_patch16_dinov3_qkvb", "vit_xsmall_patch16_clip_224",
]  # fmt: skip
CLASSES = {
    "VisionTransformer": vision_transformer.VisionTransformer,
    "VisionTransformerDistilled": deit.VisionTransformerDistilled,
    "Eva": eva.Eva,
    "Beit": beit.Beit,
}


def built(model_class: str, text: str) -> nn.Module:
    """The module that a recorded constructor call builds on meta."""
    kwargs = {k: tuple(v) if isinstance(v, list) else v for k, v in json.loads(text).items()}
    for key, package in (("block_fn", vision_transformer), ("mlp_layer", layers)):
        if key in kwargs:
            kwargs[key] = getattr(package, kwargs[key])
    if model_class in ("Eva", "Beit") and kwargs.get("norm_layer") == "rmsnorm":
        kwargs["norm_layer"] = layers.RmsNorm
    with torch.device("meta"):
        model: nn.Module = CLASSES[model_class](**kwargs)
    return model


def exact(model: Any, row: dict[str, str]) -> None:
    found = from_torch(model)
    assert isinstance(found, Resolved), found
    counts = report(found)
    assert counts.params == int(row["params_total"])
    assert counts.flops.forward == int(row["flops_total"])
    assert counts.tokens == int(row["n_tokens"])


@pytest.mark.parametrize("row", RANDOM, ids=[row["model"] for row in RANDOM])
def test_a_random_constructor_call(row: dict[str, str]) -> None:
    exact(built(row["class"], row["kwargs"]), row)


@pytest.mark.parametrize("name", NAMED)
def test_a_name_of_timm(name: str) -> None:
    (row,) = (row for row in recorded("timm_vit.csv") if row["model"] == name)
    with torch.device("meta"):
        model = timm().create_model(name)
    exact(model, row)
    # and it is the model that the name means here, in all that runs
    assert report(name).params == int(row["params_total_nc1000"])
    read, named = from_torch(model), resolve(name)
    assert isinstance(read, Resolved)
    for training in (False, True):
        structures = [structure_of(found.config, 2, training) for found in (read, named)]
        assert structures[0]._replace(classes=True) == structures[1]


def test_a_field_on_top_of_a_module_follows_the_rules_of_its_class() -> None:
    with torch.device("meta"):
        model = timm().create_model("vit_tiny_patch16_224", depth=1)
    found = from_torch(model)
    assert isinstance(found, Resolved)
    # the last norm moves behind the pool, and a norm before the blocks makes the bias superfluous
    pooled = resolve(found, global_pool="avg", pre_norm=True)
    named = resolve("vit_tiny_patch16_224", depth=1, global_pool="avg", pre_norm=True)
    assert structure_of(pooled.config) == structure_of(named.config)


TINY = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 4,
}


def agree(model: nn.Module) -> None:
    """What was read back counts as torch counts."""
    found = from_torch(model)
    assert isinstance(found, Resolved), found
    config = found.config
    assert isinstance(config, ViTConfig)
    tables = buffer_bytes(model)
    params, flops = counted(model, 1, config.in_chans, *config.img_size)
    own = report(found)
    assert (own.params, own.flops.forward) == (params, flops)
    assert own.inference.buffers_bytes == own.training.buffers_bytes == tables


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind, family in FAMILIES.items() for name in family.classes],
)
def test_transformers(kind: str, name: str) -> None:
    model = transformer(kind, name, **TINY, num_labels=5)
    if name == "ViTMAEForPreTraining":
        found = from_torch(model)
        assert isinstance(found.config, TracedModel)
        assert "parameters are not the" in found.config.reason
    else:
        agree(model)


def test_what_a_call_of_transformers_chose() -> None:
    transformers = sys.modules["transformers"]
    config = transformers.ViTConfig(**TINY, attn_implementation="eager")
    for pooler in (False, True):
        for mask in (False, True):
            with torch.device("meta"):
                agree(transformers.ViTModel(config, add_pooling_layer=pooler, use_mask_token=mask))


@pytest.mark.parametrize("representation_size", [None, 12])
def test_torchvision(representation_size: int | None) -> None:
    kwargs = {"image_size": 16, "patch_size": 4, "num_layers": 2, "num_heads": 2, "hidden_dim": 8,
              "mlp_dim": 20, "num_classes": 5, "dropout": 0.1}  # fmt: skip
    package = torchvision().models.vision_transformer
    with torch.device("meta"):
        model = package.VisionTransformer(**kwargs, representation_size=representation_size)
    agree(model)
    config = resolve(from_torch(model)).config
    assert (config.pos_drop_rate, config.proj_drop_rate) == (0.1, 0.1)
    # as is done for another task
    with torch.device("meta"):
        model.heads = nn.Linear(8, 3)
    agree(model)
    model.heads = nn.Identity()
    agree(model)


def test_the_reference() -> None:
    config = ViTConfig(depth=2, dist_token=True, num_classes=5, drop_path_rate=0.1)
    with torch.device("meta"):
        model = reference(config)
    assert resolve(from_torch(model)).config == config
    found = from_torch(model, name="ours")
    assert isinstance(found, Resolved)
    assert (found.name, found.source) == (
        "ours",
        "a torch module, vitcost.check.reference.VisionTransformer",
    )


def tiny(**kwargs: Any) -> Any:
    fields = {"img_size": 16, "patch_size": 4, "embed_dim": 8, "depth": 3, "num_heads": 2}
    with torch.device("meta"):
        return vision_transformer.VisionTransformer(**{**fields, "num_classes": 5, **kwargs})


def test_fields_that_cost_nothing_in_eval_are_read_too() -> None:
    model = tiny(drop_rate=0.1, pos_drop_rate=0.2, proj_drop_rate=0.3, attn_drop_rate=0.4,
                 drop_path_rate=0.5, init_values=1e-5)  # fmt: skip
    config = resolve(from_torch(model)).config
    assert isinstance(config, ViTConfig)
    rates = (config.drop_rate, config.pos_drop_rate, config.proj_drop_rate, config.attn_drop_rate)
    assert rates == (0.1, 0.2, 0.3, 0.4)
    assert config.drop_path_rate == 0.5
    assert resolve(from_torch(tiny(attn_layer="diff"))).config.attn_layer == "diff"


@pytest.mark.parametrize("block", ["Block", "ParallelScalingBlock", "DiffParallelScalingBlock"])
def test_the_scale_of_the_scores(block: str) -> None:
    model = tiny(block_fn=getattr(vision_transformer, block))
    # heads of 4, or of 2 where two make one
    own = [m for m in model.modules() if hasattr(m, "scale")]
    assert {m.scale for m in own} == {(2 if "Diff" in block else 4) ** -0.5}
    assert resolve(from_torch(model)).config.qk_scale is None
    for m in own:
        m.scale = 0.25
    assert resolve(from_torch(model)).config.qk_scale == 0.25


def test_an_image_that_is_padded_to_whole_patches_needs_no_positions() -> None:
    # 18 pixels are 5 patches of 4 where they are padded
    model = tiny(img_size=18, pos_embed="none", dynamic_img_pad=True)
    agree(model)
    assert resolve(from_torch(model)).config.tokens == 1 + 5 * 5


def test_what_never_trains_is_not_frozen() -> None:
    fixed = transformer("vit_mae", "ViTMAEModel", **TINY)
    found = from_torch(fixed)
    assert isinstance(found, Resolved)
    assert found.flags == {"attention": "eager"}


def test_a_model_without_blocks_is_measured() -> None:
    model = tiny()
    model.blocks = nn.Sequential()
    found = from_torch(model)
    assert isinstance(found.config, TracedModel)
    assert found.config.reason == "a model without blocks"


def test_a_head_that_was_replaced() -> None:
    model = tiny()
    model.reset_classifier(7)
    agree(model)
    model.head = nn.Linear(8, 3, bias=False, device="meta")
    agree(model)
    assert resolve(from_torch(model)).config.head_bias is False


class Configured(vision_transformer.VisionTransformer):
    def __init__(self) -> None:
        super().__init__(img_size=16, patch_size=4, embed_dim=8, depth=1, num_heads=2)


class Changed(Configured):
    def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        return super().forward_head(x, pre_logits) @ torch.ones(1000, 1000, device="meta")


class Grown(Configured):
    def __init__(self) -> None:
        super().__init__()
        self.extra = nn.Linear(3, 3)


def test_a_class_of_the_user() -> None:
    with torch.device("meta"):
        agree(Configured())
        for model, reason in (
            (Changed(), f"{__name__}.Changed has no formula here"),
            # 392 of the patches, 8 and 17 · 8 of tokens, 872 of the block, 16, 9 · 1000; and 3 · 4
            (Grown(), "its 10,436 parameters are not the 10,424 of the formula"),
        ):
            found = from_torch(model)
            assert isinstance(found.config, TracedModel)
            assert found.config.reason == reason


def changed(path: str, value: Any) -> Any:
    """A tiny model with one module replaced."""
    model = tiny()
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, value)
    return model


META = {"device": "meta"}


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("head", nn.Sequential(nn.Linear(8, 5, **META)), "a projection is torch.nn"),
        ("blocks.1", nn.Identity(), "blocks.1 is torch.nn.modules.linear.Identity"),
        ("blocks.1.mlp", layers.SwiGLU(8, 32, **META), "mlp_layer is Mlp in one place and SwiGLU"),
        ("blocks.1.mlp", layers.Mlp(8, 16, **META), "mlp_dim is 32 in one place and 16 in anoth"),
        ("blocks.1.mlp.act", nn.Softmax(-1), "an activation is torch.nn.modules.activation.Soft"),
        ("blocks.0.norm1", nn.BatchNorm1d(8, **META), "a norm is torch.nn.modules.batchnorm"),
        ("blocks.2.norm2", layers.RmsNorm(8, **META), "norms of several kinds: layernorm, rms"),
        ("norm", nn.LayerNorm(8, elementwise_affine=False), "a norm without a weight or a bias"),
        ("blocks.1.attn", layers.AttentionRope(8, 2, **META), "attn_layer is attn in one place"),
        ("blocks.1.attn.gate", nn.Linear(8, 8, **META), "attention with a gate"),
        ("blocks.1.ls1", layers.LayerScale(8, **META), "init_values is "),
        ("blocks.1.drop_path1", layers.DropPath(0.3), "stochastic depth that does not rise"),
        ("patch_embed.proj", nn.Identity(), "patch_embed.proj is torch.nn.modules.linear.Ident"),
        ("patch_drop", nn.Dropout(0.5), "a model with patch_drop"),
        ("global_pool", "map", "global_pool is not the pool's"),
    ],
)
def test_what_is_not_understood_is_not_guessed(path: str, value: Any, reason: str) -> None:
    found = from_torch(changed(path, value))
    assert isinstance(found.config, TracedModel)
    assert found.config.reason.startswith(reason)


def test_any_other_module_is_traced() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 6 * 6, 10))
    found = from_torch(model, name="mine", img_size=8)
    assert isinstance(found.config, TracedModel)
    assert found.name == "mine"
    assert found.config.reason == "torch.nn.modules.container.Sequential has no formula here"
    traced = report(found, batch=2)
    assert traced.params == (3 * 3 * 3 + 1) * 4 + (144 + 1) * 10
    # 27 products for each of 4 · 6 · 6 outputs, then 144 for each of 10
    assert traced.flops.forward == 2 * (2 * 27 * 144 + 2 * 144 * 10)
    # the image needs no gradient: one product of the convolution, two of the linear layer
    assert traced.flops.backward == 2 * (2 * 27 * 144 + 2 * 2 * 144 * 10)

    with pytest.raises(ConfigError, match="mine is traced, so that it has no field depth"):
        resolve(found, depth=2)
    with pytest.raises(ConfigError, match="img_size must be between 1"):
        resolve(found, img_size=0)


def test_a_traced_report_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = "from torch import nn\ndef small(): return nn.Sequential(nn.Conv2d(3, 4, 2), nn.ReLU())"
    (tmp_path / "own_code.py").write_text(code, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    command = ["report", "own_code:small", "--img-size", "9"]
    assert run([*command, "--json"]) == 0
    page = json.loads(capsys.readouterr().out)
    assert page["model"]["basis"] == "traced"
    # 4 filters of 3·2·2 and a bias; 8·8 places, 2 FLOPs a multiply-add; the image has no gradient
    assert page["params"]["total"] == 4 * 12 + 4
    assert page["flops"]["forward"] == 2 * 8 * 8 * 4 * 12
    assert page["flops"]["train_step"] == 2 * page["flops"]["forward"]
    assert run(command) == 0
    assert f"traced with torch {torch.__version__.partition('+')[0]}" in capsys.readouterr().out


class Odd(nn.Module):
    """Parameters on no module, a module that is called twice, one that is not, a tied weight."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(3))
        self.inner = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
        self.tied = nn.Linear(3, 3)
        self.tied.weight = self.inner[0].weight
        self.idle = nn.Linear(3, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # 3 channels, one pixel
        x = self.inner(self.inner(x[..., 0, 0])) * self.gain
        # a part of a module, and a product of the model's own
        return self.tied(self.inner[0](x)) @ self.idle.weight.T


def test_what_is_traced_adds_up() -> None:
    found = from_torch(Odd(), img_size=1)
    answer = report(found, batch=2).to_dict()
    linear, own = 2 * 2 * 3 * 3, 2 * 2 * 3 * 4
    # a weight that two modules hold is told with the first, and so is its bias alone with the other
    assert answer["params"]["by_part"] == {"inner": 12, "tied": 3, "idle": 16, "gain": 3}
    assert answer["params"]["total"] == 34
    assert answer["flops"]["forward"] == 4 * linear + own
    rows = {row["path"]: (row["params"], row["flops"]) for row in answer["layers"]}
    # the third call of inner.0 is one of a module inside it
    assert rows["inner"] == (12, 3 * linear)
    assert rows["tied"] == (3, linear)
    assert rows[""] == (0, own)
    assert sum(p for p, _ in rows.values()) == 34


class Patch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patch, self.fc = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 8)


class Shared(nn.Module):
    """One layer under two names, a module that is never called, a pair of which one is."""

    def __init__(self) -> None:
        super().__init__()
        self.enc = Patch()
        self.steps = nn.Sequential(self.enc.fc, nn.ReLU(), self.enc.fc)
        self.other = Patch()
        self.both = nn.Sequential(nn.Linear(8, 3), nn.Linear(8, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.enc.fc(self.enc.patch(x).flatten(2).transpose(1, 2))
        y: torch.Tensor = self.both[1](self.steps(x).mean(1))
        return y


def test_a_module_under_two_names_is_counted_once() -> None:
    found = report(from_torch(Shared(), img_size=8)).to_dict()
    # 4 patches: 48 products for each of 8 channels, a layer of 8 x 8 three times, 8 x 2 of the mean
    patch, fc, head = 2 * 4 * 8 * 48, 2 * 4 * 8 * 8, 2 * 8 * 2
    assert found["flops"]["forward"] == patch + 3 * fc + head
    rows = {row["path"]: (row["params"], row["flops"]) for row in found["layers"]}
    # a module's row is under its first name
    assert rows["enc"] == (8 * 49 + 72, patch + 3 * fc)
    assert rows["both"] == (27 + 18, head)
    assert rows["other"] == (8 * 49 + 72, 0)
    assert sum(p for p, _ in rows.values()) == found["params"]["total"]
    assert found["params"]["total"] == 2 * (8 * 49 + 72) + 27 + 18
    notes = found["model"]["config"]["notes"]
    assert "no operator reads the parameters of other, both.0" in notes


class Yields(nn.Linear):
    def forward(self, x: torch.Tensor) -> Any:
        yield super().forward(x)


def test_a_forward_that_is_a_generator_has_not_run() -> None:
    with pytest.raises(NotCovered, match="the forward of Yields returns a generator"):
        report(from_torch(Yields(3, 3), img_size=3))


def test_a_traced_module_has_its_own_type_and_what_trains_of_it() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.Linear(5, 2)).half()
    model[1].requires_grad_(False)
    answer = report(from_torch(model, img_size=2)).to_dict()
    assert (answer["params"]["total"], answer["params"]["trainable"]) == (65 + 12, 12)
    assert answer["memory"]["inference"]["weights_bytes"] == 2 * 77
    # two moments of each in halves, and a counter of four bytes a tensor
    assert answer["memory"]["training"]["optimizer_bytes"] == 2 * 2 * 12 + 2 * 4
    assert answer["memory"]["training"]["gradients_bytes"] == 2 * 12


def test_what_is_no_module() -> None:
    with pytest.raises(ConfigError, match=r"a torch\.nn\.Module is needed, got 3"):
        from_torch(3)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"is read by vitcost\.from_torch\(module\)"):
        report(nn.Identity())  # type: ignore[arg-type]


CODE = """
import sys
import torch
from torch import nn
print("imported")
helper = nn.Linear(2, 2)
number = 3

def tiny():
    print("built")
    from vitcost import ViTConfig
    from vitcost.check.reference import build
    return build(ViTConfig(depth=1, num_classes=5))

def net():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 7))

def huge():
    return nn.Linear(10**6, 10**6)

def fails():
    raise ValueError("no weights\\nat all")

def leaves():
    sys.exit(3)

def asks(size):
    return helper

def real():
    return nn.Linear(2, 2).weight.sum().item()

def pair():
    return helper, helper

class Zoo:
    net = staticmethod(net)
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    package = tmp_path / "my_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "models.py").write_text(CODE)
    (package / "broken.py").write_text("import not_there_at_all")
    (package / "typo.py").write_text("def f(:")
    monkeypatch.chdir(tmp_path)
    yield
    for name in [name for name in sys.modules if name.startswith("my_package")]:
        del sys.modules[name]


@pytest.mark.usefixtures("code")
def test_a_factory(capsys: pytest.CaptureFixture[str]) -> None:
    path = list(sys.path)
    found = resolve("my_package.models:tiny", img_size=32)
    assert (found.name, found.config) == (
        "my_package.models:tiny",
        ViTConfig(depth=1, num_classes=5, img_size=(32, 32)),
    )
    assert sys.path == path
    # stdout carries the answer alone
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "imported\nbuilt\n")
    params = vitcost.report("my_package.models:tiny").params
    assert params == sum(
        p.numel() for p in reference(ViTConfig(depth=1, num_classes=5)).parameters()
    )


@pytest.mark.usefixtures("code")
def test_a_factory_of_something_else() -> None:
    for name in ("my_package.models:net", "my_package.models:Zoo.net"):
        found = report(name, img_size=32)
        assert found.params == (3 * 32 * 32 + 1) * 7
        assert found.flops.forward == 2 * 3 * 32 * 32 * 7
    # four terabytes, had they been allocated
    huge = resolve("my_package.models:huge")
    with pytest.raises(NotCovered, match=r"the trace stopped in .*1,000,001,000,000 parameters"):
        report(huge)
    # a module that is there already
    assert isinstance(resolve("my_package.models:helper").config, TracedModel)


@pytest.mark.usefixtures("code")
@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("my_pakage.models:net", "importing my_pakage.models: ModuleNotFoundError: No module nam"),
        ("my_package.model:net", "importing my_package.model: ModuleNotFoundError: No module nam"),
        ("my_package.broken:net", "importing my_package.broken: ModuleNotFoundError: No module n"),
        ("my_package.typo:f", "importing my_package.typo: SyntaxError: invalid syntax"),
        ("my_package.models:nets", "my_package.models has no nets"),
        ("my_package.models:Zoo.nets", "my_package.models has no Zoo.nets"),
        ("my_package.models:number", "number is 3, which cannot be called"),
        ("my_package.models:fails", "calling fails(): ValueError: no weights"),
        ("my_package.models:leaves", "calling leaves(): SystemExit: 3"),
        ("my_package.models:asks", "calling asks(): TypeError: asks() missing"),
        ("my_package.models:real", "gives "),
        ("my_package.models:pair", "gives (Linear(in_fea"),
    ],
)
def test_code_that_fails(model: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        report(model)
    said = str(caught.value)
    assert said.startswith(f"{model}: {message}")
    assert "\n" not in said
