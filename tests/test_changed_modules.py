"""Modules that were changed after they were built: a formula never answers for one of them.

Truth is torch: FLOPs by its counter on meta, bytes by autograd on real tensors.
"""

import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
from counting_support import counted, transformer
from saved_support import held_bytes
from timm_support import timm, torchvision
from torch import Tensor, nn
from torch.nn import functional

from vitcost import ConfigError, from_torch, report
from vitcost.traced.traced_model import TracedModel
from vitcost.zoo import Resolved

timm()
from timm import layers  # noqa: E402
from timm.models import vision_transformer  # noqa: E402

TINY = {"img_size": 16, "patch_size": 4, "embed_dim": 8, "depth": 3, "num_heads": 2}
HF_TINY = {"hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 16,
           "patch_size": 4, "intermediate_size": 32}  # fmt: skip


def tiny(device: str = "meta", **kwargs: Any) -> Any:
    with torch.device(device):
        return vision_transformer.VisionTransformer(**{**TINY, "num_classes": 5, **kwargs})


def tiny_hf(device: str = "meta", **kwargs: Any) -> Any:
    model: Any = transformer("vit", "ViTForImageClassification", **HF_TINY, num_labels=5, **kwargs)
    if device == "meta":
        return model
    with torch.device(device):
        return type(model)(model.config)


def tiny_torchvision() -> Any:
    package = torchvision().models.vision_transformer
    with torch.device("meta"):
        return package.VisionTransformer(16, 4, 3, 2, 8, 32, num_classes=5)


def skip(x: Tensor, *_: Any, **__: Any) -> Tensor:
    return x


def unscored(attention: Any, x: Tensor, *_: Any, **__: Any) -> Tensor:
    out: Tensor = attention.proj(attention.qkv(x)[..., : x.shape[-1]])
    return out


def patches_alone(model: Any, x: Tensor) -> Tensor:
    out: Tensor = model.head(model.patch_embed(x).mean(1))
    return out


def halved(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda x, **kwargs: forward(x[:, ::2], **kwargs)


def mixed(_: nn.Module, __: Any, output: Tensor) -> Tensor:
    return output @ torch.ones(8, 8, device=output.device)


def set_forward(path: str, make: Callable[[Any], Any]) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        each = model.get_submodule(path)
        each.forward = make(each)

    return change


# each still runs, so that torch counts what the change did
RUNNING: dict[str, tuple[Callable[[Any], Any], str]] = {
    "the model's forward": (
        lambda m: setattr(m, "forward", types.MethodType(patches_alone, m)),
        "the model: its forward was set",
    ),
    "a block's forward": (
        set_forward("blocks.1", lambda _: skip),
        "blocks.1: its forward was set",
    ),
    "half of the tokens": (
        set_forward("blocks.1", lambda block: halved(block.forward)),
        "blocks.1: its forward was set",
    ),
    "an attention's forward": (
        set_forward("blocks.0.attn", lambda attn: types.MethodType(unscored, attn)),
        "blocks.0.attn: its forward was set",
    ),
    "a layer's forward": (
        set_forward("blocks.2.mlp.fc1", lambda fc: lambda x: fc.weight.sum() + x.repeat(1, 1, 4)),
        "blocks.2.mlp.fc1: its forward was set",
    ),
    "another method": (
        lambda m: setattr(m, "forward_features", lambda x, **_: m._pos_embed(m.patch_embed(x))),
        "the model: its forward_features was set",
    ),
    "a hook": (
        lambda m: m.blocks[0].register_forward_hook(mixed),
        "blocks.0: a hook in forward_hooks",
    ),
    "a hook before": (
        lambda m: m.blocks[2].register_forward_pre_hook(lambda _, args: (args[0][:, :3],)),
        "blocks.2: a hook in forward_pre_hooks",
    ),
    "a hook on a leaf": (
        lambda m: m.blocks[1].norm1.register_forward_hook(mixed),
        "blocks.1.norm1: a hook in forward_hooks",
    ),
    "a dropout of another kind": (
        lambda m: setattr(m.blocks[1], "drop_path1", nn.Linear(8, 8, device="meta")),
        "blocks.1.drop_path1 is torch.nn.modules.linear.Linear",
    ),
}


@pytest.mark.parametrize("name", RUNNING)
def test_what_runs_otherwise_is_counted_as_it_runs(name: str) -> None:
    plain = counted(tiny(), 1, 3, 16, 16)[1]
    change, reason = RUNNING[name]
    model = tiny()
    change(model)
    found = from_torch(model, img_size=16)
    assert isinstance(found.config, TracedModel)
    assert found.config.reason.startswith(reason)
    params, flops = counted(model, 1, 3, 16, 16)
    assert flops != plain
    answer = report(found).to_dict()
    assert (answer["params"]["total"], answer["flops"]["forward"]) == (params, flops)


# what trains otherwise, or does not run at all
OTHERS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "a hook on gradients": (
        lambda m: m.blocks[0].register_full_backward_hook(lambda *_: None),
        "blocks.0: a hook in backward_hooks",
    ),
    "a hook on a parameter's gradient": (
        lambda m: m.head.weight.register_post_accumulate_grad_hook(lambda _: None),
        "head.weight: a hook on its gradient",
    ),
    "a norm taken out": (lambda m: setattr(m, "norm", None), "the model: its norm was taken out"),
    "a scale taken out": (
        lambda m: setattr(m.blocks[1], "ls2", None),
        "blocks.1: its ls2 was taken out",
    ),
    "a path deleted": (
        lambda m: delattr(m.blocks[1], "drop_path2"),
        "blocks.1: its drop_path2 was taken out",
    ),
    "channels dropped": (
        lambda m: setattr(m, "head_drop", nn.Dropout2d(0.1)),
        "head_drop is torch.nn.modules.dropout.Dropout2d",
    ),
    "another stride": (
        lambda m: setattr(m.patch_embed.proj, "stride", (2, 2)),
        "patch_embed.proj has a stride of (2, 2)",
    ),
    "a padded convolution": (
        lambda m: setattr(m.patch_embed.proj, "padding", (1, 1)),
        "patch_embed.proj has padding of (1, 1)",
    ),
    "in place": (
        lambda m: setattr(m.pos_drop, "inplace", True),
        "pos_drop.inplace is not False",
    ),
    "other tokens in front": (
        lambda m: setattr(m, "num_prefix_tokens", 2),
        "num_prefix_tokens is 2",
    ),
    "other heads": (
        lambda m: [setattr(b.attn, "num_heads", 4) for b in m.blocks],
        "head_dim is 4 of 2",
    ),
    "a compiled block": (lambda m: m.blocks[1].compile(), "blocks.1: compiled by itself"),
    "several types": (
        lambda m: m.head.to(torch.float16),
        "its tensors are of several types: torch.float16, torch.float32",
    ),
    "double": (lambda m: m.double(), "its tensors are torch.float64"),
    "some attentions fused": (
        lambda m: setattr(m.blocks[1].attn, "fused_attn", False),
        "some of its attentions are fused",
    ),
    "norms alone frozen": (
        lambda m: [b.norm1.requires_grad_(False) for b in m.blocks],
        "6 of its 44 parameters do not train, which no freeze says",
    ),
    "a block in the middle frozen": (
        lambda m: m.blocks[1].requires_grad_(False),
        "12 of its 44 parameters do not train, which no freeze says",
    ),
}


# torch says so of itself where its compiler is imported
_DEPRECATED = pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*")


@_DEPRECATED
@pytest.mark.parametrize("name", OTHERS)
def test_what_no_flag_says_has_no_formula(name: str) -> None:
    change, reason = OTHERS[name]
    model = tiny()
    change(model)
    found = from_torch(model, img_size=16)
    assert isinstance(found.config, TracedModel)
    assert found.config.reason.startswith(reason)


def test_a_method_of_the_class_that_was_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers.Mlp, "forward", skip)
    found = from_torch(tiny())
    assert isinstance(found.config, TracedModel)
    assert found.config.reason == f"blocks.0.mlp: Mlp.forward was replaced by one of {__name__}"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: setattr(m.vit.layers[1], "forward", skip), "vit.layers.1: its forward was set"),
        (lambda m: m.vit.register_forward_hook(mixed), "vit: a hook in forward_hooks"),
        (lambda m: setattr(m.vit.layers[1].mlp, "activation_fn", nn.ReLU()), "vit.layers.1.mlp.ac"),
        (lambda m: setattr(m.vit.layers[0], "layernorm_after", nn.Identity()), "vit.layers.0.l"),
        (lambda m: setattr(m.vit.layers[0].attention, "attention_dropout", 0.5), "vit.layers.0.a"),
        (lambda m: m.vit.layers.pop(1), "vit.layers.2 was taken out"),
    ],
)  # fmt: skip
def test_transformers(change: Callable[[Any], Any], reason: str) -> None:
    model = tiny_hf()
    assert isinstance(from_torch(model), Resolved)
    change(model)
    found = from_torch(model)
    assert isinstance(found.config, TracedModel)
    assert found.config.reason.startswith(reason)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: setattr(m.encoder.layers[1], "forward", skip), "encoder.layers."),
        (lambda m: setattr(m.encoder.layers[1], "dropout", nn.Dropout(0.5)), "encoder.layers."),
        (lambda m: m.encoder.layers[0].mlp.__setitem__(1, nn.ReLU()), "encoder.layers."),
        (lambda m: setattr(m.encoder, "ln", None), "encoder: its ln was taken out"),
        (lambda m: setattr(m.encoder.layers[0].self_attention, "dropout", 0.5), "encoder.layers."),
    ],
)  # fmt: skip
def test_torchvision(change: Callable[[Any], Any], reason: str) -> None:
    model = tiny_torchvision()
    assert isinstance(from_torch(model), Resolved)
    change(model)
    found = from_torch(model)
    assert isinstance(found.config, TracedModel)
    assert found.config.reason.startswith(reason)


def saved(model: nn.Module, dtype: torch.dtype) -> int:
    """Bytes that autograd holds after the forward pass and the loss, on the CPU."""
    images, labels = torch.randn(2, 3, 16, 16, dtype=dtype), torch.tensor([1, 2])

    def run() -> Tensor:
        output: Any = model(images)
        return functional.cross_entropy(getattr(output, "logits", output), labels)

    model.train()
    return held_bytes(run, [*model.parameters(), *model.buffers(), images, labels])


# what a flag can say of a module: the flag, and its value
SAID: dict[str, tuple[Callable[[Any], Any], dict[str, str]]] = {
    "bf16": (lambda m: m.bfloat16(), {"precision": "bf16"}),
    "half": (lambda m: m.half(), {"precision": "fp16"}),
    "head alone trains": (
        lambda m: [p.requires_grad_("head" in n) for n, p in m.named_parameters()],
        {"freeze": "backbone"},
    ),
    "embedding frozen": (
        lambda m: [
            p.requires_grad_(n.startswith(("blocks", "norm", "head")))
            for n, p in m.named_parameters()
        ],
        {"freeze": "first:0"},
    ),
    "two blocks frozen": (
        lambda m: [
            p.requires_grad_(n.startswith(("blocks.2", "norm", "head")))
            for n, p in m.named_parameters()
        ],
        {"freeze": "first:2"},
    ),
    "nothing trains": (lambda m: m.requires_grad_(False), {"freeze": "all"}),
    "norm and head train": (
        lambda m: [each.requires_grad_(False) for each in (m, m.blocks)]
        and [each.requires_grad_(True) for each in (m.norm, m.head)],
        {"freeze": "first:3"},
    ),
    "checkpointed": (lambda m: m.set_grad_checkpointing(True), {"checkpointing": "block"}),
    "products": (
        lambda m: [setattr(b.attn, "fused_attn", False) for b in m.blocks],
        {"attention": "eager"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SAID)
def test_what_a_flag_says_is_read(name: str) -> None:
    change, flags = SAID[name]
    model = tiny("cpu")
    change(model)
    found = from_torch(model)
    assert isinstance(found, Resolved), found
    assert found.flags == flags
    answer = report(found, batch=2, platform="cpu")
    assert answer.training.saved_activations_bytes == saved(model, next(model.parameters()).dtype)
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    trained = [p for p in model.parameters() if p.requires_grad]
    assert answer.inference.weights_bytes == weights
    assert answer.training.gradients_bytes == sum(p.numel() * p.element_size() for p in trained)
    (scenario,) = {answer.to_dict()["scenario"][flag] for flag in flags}
    assert scenario == next(iter(flags.values()))
    assert f"its own {next(iter(flags))}: {scenario}" in answer.model.source


HF_SAID: dict[str, tuple[Callable[[Any], Any], dict[str, str]]] = {
    "bf16": (lambda m: m.bfloat16(), {"precision": "bf16"}),
    "checkpointed": (lambda m: m.activation_checkpointing_enable(), {"checkpointing": "block"}),
    "head alone trains": (lambda m: m.vit.requires_grad_(False), {"freeze": "backbone"}),
    "two blocks frozen": (
        lambda m: [
            each.requires_grad_(False) for each in (m.vit.embeddings, *m.vit.layers[:2])
        ],
        {"freeze": "first:2"},
    ),
    "fused": (lambda m: m.set_attn_implementation("sdpa"), {}),
}  # fmt: skip


@pytest.mark.parametrize("name", HF_SAID)
def test_what_a_flag_says_is_read_of_transformers(name: str) -> None:
    change, flags = HF_SAID[name]
    model = tiny_hf("cpu")
    change(model)
    found = from_torch(model)
    assert isinstance(found, Resolved), found
    eager = {} if name == "fused" else {"attention": "eager"}
    assert found.flags == {**eager, **flags}
    if name == "fused":
        answer = report(found, batch=2, platform="cpu")
        assert answer.training.saved_activations_bytes == saved(model, torch.float32)


def test_some_checkpoints_of_transformers_are_no_flag() -> None:
    model = tiny_hf()
    model.activation_checkpointing_enable(every_n_layers=2)
    found = from_torch(model)
    assert isinstance(found.config, TracedModel)
    assert found.config.reason.startswith("some of its layers are checkpointed")


def test_flags_add_to_what_a_module_is() -> None:
    model = tiny()
    model.set_grad_checkpointing(True)
    found = from_torch(model)
    plain, own = report(from_torch(tiny())), report(found)
    assert own.training.saved_activations_bytes == (
        report(from_torch(tiny()), checkpointing="block").training.saved_activations_bytes
    )
    assert own.training.saved_activations_bytes < plain.training.saved_activations_bytes
    assert report(found, checkpointing="block").scenario == own.scenario
    for flag, value in (("checkpointing", "every:2"), ("checkpointing", "selective")):
        with pytest.raises(ConfigError, match="contradicts the module, whose own checkpointing"):
            report(found, **{flag: value})  # type: ignore[arg-type]
    # elsewhere too
    half = from_torch(tiny().half())
    assert isinstance(half, Resolved)
    with pytest.raises(ConfigError, match="precision bf16 contradicts the module"):
        report(half, precision="bf16")


def test_what_was_given_for_a_known_module_is_not_dropped() -> None:
    assert isinstance(from_torch(tiny(), img_size=16, in_chans=3), Resolved)
    with pytest.raises(ConfigError, match="in_chans 1: the module reads 3 channels"):
        from_torch(tiny(), in_chans=1)
    with pytest.raises(
        ConfigError, match="input_size 32x32: it takes images of its img_size alone"
    ):
        from_torch(tiny(), img_size=32)


@_DEPRECATED
def test_a_compiled_module_is_its_own_and_compiled() -> None:
    plain = from_torch(tiny())
    whole = tiny()
    whole.compile()
    for model in (whole, torch.compile(tiny())):
        found = from_torch(model)
        assert found.config == plain.config
        assert found.flags == {"compile": True}
        assert report(found).scenario.compile
