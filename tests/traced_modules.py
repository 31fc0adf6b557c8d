"""Modules that no formula describes, small: of timm, torchvision, transformers, and user code."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

__all__ = ["CASES", "QUICK", "Case", "image"]


class Case(NamedTuple):
    make: Callable[[], nn.Module]
    inputs: Callable[[int], Any]
    loss: Callable[..., Tensor] | None = None
    why: str = ""  # a known difference, named by its operator


def image(size: int, channels: int = 3) -> Callable[[int], Any]:
    return lambda b: (torch.rand(b, channels, size, size),)


def _timm(name: str, size: int, **arguments: Any) -> Case:
    def make() -> nn.Module:
        import timm

        model: nn.Module = timm.create_model(name, **arguments)
        return model

    return Case(make, image(size))


def _vit(**more: Any) -> nn.Module:
    import timm

    given = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 2, "num_heads": 3, **more}
    model: nn.Module = timm.models.VisionTransformer(num_classes=more.pop("num_classes", 7), **{
        k: v for k, v in given.items() if k != "num_classes"})  # fmt: skip
    return model


class TwoTowers(nn.Module):
    """An image and a text, each a vector; logits of every pair."""

    def __init__(self) -> None:
        super().__init__()
        self.image = _vit(num_classes=16)
        self.text = nn.Embedding(100, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, dropout=0.1)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.project = nn.Linear(32, 16)
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, image: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        a = functional.normalize(self.image(image), dim=-1)
        b = functional.normalize(self.project(self.encoder(self.text(ids)).mean(1)), dim=-1)
        return a, b * self.scale.exp()


def contrastive(output: tuple[Tensor, Tensor]) -> Tensor:
    a, b = output
    logits = a @ b.t()
    targets = torch.arange(len(a), device=a.device)
    return (
        functional.cross_entropy(logits, targets) + functional.cross_entropy(logits.t(), targets)
    ) / 2


class Distilled(nn.Module):
    """A student of crops and a teacher of whole images without gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.student = _vit(dynamic_img_size=True)
        self.teacher = _vit(dynamic_img_size=True)
        for parameter in self.teacher.parameters():
            parameter.requires_grad_(False)

    def forward(self, crops: list[Tensor]) -> Tensor:
        with torch.no_grad():
            target = self.teacher(crops[0]).softmax(-1)
        losses = [-(target * self.student(crop).log_softmax(-1)).sum(-1).mean() for crop in crops]
        return torch.stack(losses).mean()


def own_scalar(output: Tensor) -> Tensor:
    return output


def squared(output: Tensor) -> Tensor:
    return functional.mse_loss(output, torch.zeros_like(output))


class Masked(nn.Module):
    """A masked autoencoder with a decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 48, 8, 8)
        layer = nn.TransformerEncoderLayer(48, 4, 96, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        small = nn.TransformerEncoderLayer(24, 2, 48, batch_first=True, norm_first=True)
        self.bridge = nn.Linear(48, 24)
        self.decoder = nn.TransformerEncoder(small, 1, enable_nested_tensor=False)
        self.mask = nn.Parameter(torch.zeros(1, 1, 24))
        self.out = nn.Linear(24, 192)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embed(x).flatten(2).transpose(1, 2)
        b, s, h = tokens.shape
        order = torch.rand(b, s, device=x.device).argsort(1)
        keep = order[:, : s // 4].unsqueeze(-1).expand(-1, -1, h)
        seen = self.bridge(self.encoder(tokens.gather(1, keep)))
        whole = torch.cat([seen, self.mask.expand(b, s - s // 4, -1)], 1)
        return self.out(self.decoder(whole))


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down1 = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(True)
        )
        self.down2 = nn.Sequential(
            nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(True)
        )
        self.up = nn.ConvTranspose2d(32, 16, 2, 2)
        self.last = nn.Conv2d(32, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.down1(x)
        b = self.down2(functional.max_pool2d(a, 2))
        y = torch.cat([a, self.up(b)], 1)
        return functional.interpolate(self.last(y), scale_factor=2.0, mode="bilinear")


class Cloud(nn.Module):
    """Points with their neighbours: linear layers of rows that lie apart, gathers, maxima."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.edge = nn.Linear(3, 64), nn.Conv2d(32, 32, 1, groups=4, bias=False)
        self.never = nn.GRU(8, 8)  # which lists its parameters a second time
        self.out = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.embed(x.transpose(1, 2)).transpose(1, 2)[:, :16].contiguous()
        near = torch.cdist(x.transpose(1, 2), x.transpose(1, 2)).topk(6, largest=False).indices
        many = y.unsqueeze(-1).expand(-1, -1, -1, 6)
        found = many.gather(2, near.unsqueeze(1).expand(-1, 16, -1, -1))
        return self.out(self.edge(torch.cat([found, many - found], 1)).max(-1)[0].max(-1)[0])


class Wide(nn.Module):
    """A linear layer of rows that lie apart, whose output is the largest tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.out = nn.Linear(4, 64), nn.Linear(64, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.wide(x.transpose(1, 2)).mean(1))


class Detector(nn.Module):
    """A backbone with queries that attend to its tokens: boxes and classes."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = _vit(num_classes=0, global_pool="")
        self.queries = nn.Parameter(torch.zeros(10, 48))
        self.decoder = nn.TransformerDecoderLayer(48, 4, 96, batch_first=True, dropout=0.0)
        self.boxes, self.classes = nn.Linear(48, 4), nn.Linear(48, 6)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        memory = self.backbone.forward_features(x)  # type: ignore[operator]
        y = self.decoder(self.queries.expand(len(x), -1, -1), memory)
        return {"boxes": self.boxes(y).sigmoid(), "classes": self.classes(y)}


class Video(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv3d(3, 32, (2, 8, 8), (2, 8, 8))
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, dropout=0.0)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.embed(x).flatten(2).transpose(1, 2)
        return self.head(self.encoder(y).mean(1))


class Frozen(nn.Module):
    """A frozen backbone with a trained head: the usual wrapper."""

    def __init__(self) -> None:
        super().__init__()
        self.model = _vit(num_classes=0)
        self.model.requires_grad_(False)
        self.head = nn.Sequential(nn.Dropout(0.1), nn.Linear(48, 11))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.model(x))


class Tied(nn.Module):
    """One layer under two names, one called twice, and one that is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 64)
        self.again = self.first
        self.wordy = nn.Embedding(50, 64)
        self.out = nn.Linear(64, 50, bias=False)
        self.out.weight = self.wordy.weight
        self.never = nn.Linear(64, 1000)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.wordy(ids)
        return self.out(self.again(self.first(x).relu()).mean(1))


class Recomputed(nn.Module):
    """Its own checkpoints, one of each kind."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 48, 8, 8)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(48, 4, 96, batch_first=True, dropout=0.0) for _ in range(3)
        )
        self.head = nn.Linear(48, 9)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).flatten(2).transpose(1, 2)
        for i, layer in enumerate(self.layers):
            x = checkpoint(layer, x, use_reentrant=i == 1)
        return self.head(x.mean(1))


class Guarded(nn.Module):
    """Guards against overflow, as transformers' detectors have one in each layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(16, 16) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        first, second, third, last = self.layers
        x = torch.relu(first(x))
        if not torch.isfinite(x).all():
            x = x.clamp(-1e4, 1e4)
        x = torch.relu(second(x))
        if torch.isinf(x).any() or torch.isnan(x).any().item():
            x = torch.nan_to_num(x)
        x = torch.relu(third(x))
        if not bool((torch.isfinite(x) & ~torch.isnan(x)).all(-1).all()):
            raise ValueError("no number")
        torch._check_tensor_all(x >= 0)
        return last(x)


class OneDictionary(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.vit, self.table = _vit(num_classes=8), nn.Embedding(10, 8)
        self.head = nn.Linear(16, 3)

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        both = torch.cat([self.vit(batch["image"]), self.table(batch["kind"])], 1)
        logits = self.head(both)
        return {"loss": functional.cross_entropy(logits, batch["label"]), "logits": logits}


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Flatten(),
            nn.Linear(3 * 256, 128),
            nn.BatchNorm1d(128),
            nn.SiLU(),
            nn.Linear(128, 10),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Mixed(nn.Module):
    """Attention with a mask of its own, a rotary table, a gate, and a norm by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.qkv, self.out = nn.Linear(12, 64), nn.Linear(64, 192), nn.Linear(64, 4)
        self.norm = nn.RMSNorm(64)
        self.bias = nn.Parameter(torch.zeros(1, 4, 9, 9))
        self.register_buffer("angles", torch.rand(9, 16))
        self.gate = nn.Linear(64, 64)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.embed(x))
        b, s, h = x.shape
        q, k, v = self.qkv(x).view(b, s, 3, 4, 16).permute(2, 0, 3, 1, 4)
        q, k = q * self.angles.cos(), k * self.angles.cos()
        y = functional.scaled_dot_product_attention(q, k, v, attn_mask=self.bias)
        y = y.transpose(1, 2).reshape(b, s, h) * self.gate(x).sigmoid()
        return self.out((x + y).amax(1))


class Adapter(nn.Module):
    """peft's lora.Linear: a frozen layer, and one of low rank beside it, each in a dictionary."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base_layer = base.requires_grad_(False)
        wide, narrow = base.in_features, base.out_features
        self.lora_dropout = nn.ModuleDict({"default": nn.Identity()})
        self.lora_A = nn.ModuleDict({"default": nn.Linear(wide, rank, bias=False)})
        self.lora_B = nn.ModuleDict({"default": nn.Linear(rank, narrow, bias=False)})

    def forward(self, x: Tensor) -> Tensor:
        result = self.base_layer(x)
        low = self.lora_A["default"](self.lora_dropout["default"](x.to(self._type)))
        return result + self.lora_B["default"](low) * 2.0

    @property
    def _type(self) -> torch.dtype:
        return self.lora_A["default"].weight.dtype  # type: ignore[return-value, union-attr]


class Adapted(nn.Module):
    """A frozen backbone with adapters and a head that trains, as peft makes it."""

    def __init__(self) -> None:
        super().__init__()
        self.base_model = _vit().requires_grad_(False)
        for block in self.base_model.blocks:  # type: ignore[union-attr]
            block.attn.qkv = Adapter(block.attn.qkv, 4)
        head: Any = self.base_model.head
        self.original_head, self.base_model.head = head, nn.Linear(48, 7)

    def forward(self, x: Tensor) -> Tensor:
        return self.base_model(x)


class Spectral(nn.Module):
    """A filter of frequencies, and their powers: products with a conjugate, a part with a sign."""

    def __init__(self) -> None:
        super().__init__()
        self.filter = nn.Parameter(torch.rand(8, 5, 16, 2))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.fft.rfft2(x.float(), dim=(1, 2), norm="ortho")
        with torch.no_grad():
            powers = (y * y.conj()).real.mean((1, 2)) + y.conj().imag.mean((1, 2))
        y = torch.fft.irfft2(y * torch.view_as_complex(self.filter), s=(8, 8), dim=(1, 2))
        return y.mean((1, 2)) + powers


class Pairs(nn.Module):
    """Batched products of single precision, which autocast casts one by one."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(1, 9, 12))

    def forward(self, x: Tensor) -> Tensor:
        x = x * self.scale
        scores = torch.bmm(x, x.mT).float().softmax(-1)
        return torch.baddbmm(x, scores, x).mean(1)


class Taught(nn.Module):
    """A teacher in inference mode beside its student."""

    def __init__(self) -> None:
        super().__init__()
        self.teacher, self.student = _vit(), _vit(depth=1)

    def forward(self, x: Tensor) -> Tensor:
        with torch.inference_mode():
            target = self.teacher(x).softmax(-1)
        return -(target.clone() * self.student(x).log_softmax(-1)).sum(-1).mean()


def _peft() -> nn.Module:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=4, target_modules=["qkv"], modules_to_save=["head"], lora_dropout=0.0)
    model: nn.Module = get_peft_model(_vit(), config)
    return model


def _hf(name: str, **config: Any) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        import transformers

        cls = getattr(transformers, name)
        model: nn.Module = cls(cls.config_class(**config))
        return model

    return make


def _pixels(size: int, *more: int) -> Callable[[int], Any]:
    return lambda b: {"pixel_values": torch.rand(b, *more, 3, size, size)}


def _torchvision(name: str, **arguments: Any) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        from torchvision import models

        found: Any = models
        for part in name.split("."):
            found = getattr(found, part)
        model: nn.Module = found(**arguments)
        return model

    return make


_SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
          "intermediate_size": 64}  # fmt: skip
_TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}

CASES: Mapping[str, Case] = {
    # user code
    "two towers, contrastive": Case(
        TwoTowers,
        lambda b: {"image": torch.rand(b, 3, 32, 32), "ids": torch.zeros(b, 8, dtype=torch.long)},
        contrastive,
    ),
    "student and teacher of crops": Case(
        Distilled,
        lambda b: ([torch.rand(b, 3, 32, 32), *(torch.rand(b, 3, 16, 16) for _ in range(2))],),
        own_scalar,
    ),
    "masked autoencoder": Case(Masked, image(32)),
    "U-shaped segmenter": Case(UNet, image(16)),
    "detector": Case(Detector, image(32)),
    "video": Case(Video, lambda b: (torch.rand(b, 3, 4, 16, 16),)),
    "frozen backbone": Case(Frozen, image(32)),
    "tied, shared, never called": Case(Tied, lambda b: (torch.zeros(b, 6, dtype=torch.long),)),
    "its own checkpoints": Case(Recomputed, image(32)),
    "guards against overflow": Case(Guarded, lambda b: (torch.rand(b, 16),)),
    "one dictionary": Case(
        OneDictionary,
        lambda b: (
            {
                "image": torch.rand(b, 3, 32, 32),
                "kind": torch.zeros(b, dtype=torch.long),
                "label": torch.zeros(b, dtype=torch.long),
            },
        ),
    ),
    "point cloud": Case(Cloud, lambda b: (torch.rand(b, 3, 40),)),
    "rows that lie apart": Case(Wide, lambda b: (torch.rand(b, 4, 30),)),
    "multilayer perceptron": Case(Mlp, image(16)),
    "attention with a learned mask": Case(Mixed, lambda b: (torch.rand(b, 9, 12),)),
    "adapters of low rank": Case(Adapted, image(32)),
    "peft's LoRA": Case(_peft, image(32)),
    "filter of frequencies": Case(Spectral, lambda b: (torch.rand(b, 8, 8, 16),)),
    "pixels": Case(
        lambda: nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 40)),
        lambda b: (torch.rand(b, 9, 8),),
        squared,
    ),
    "batched products": Case(Pairs, lambda b: (torch.rand(b, 9, 12),)),
    "teacher in inference mode": Case(Taught, image(32), own_scalar),
    # timm
    "swin": _timm("swin_tiny_patch4_window7_224", 56, img_size=56, depths=(1, 1, 2, 1)),
    "swin v2": _timm("swinv2_tiny_window8_256", 64, img_size=64, depths=(1, 1, 2, 1)),
    "swin v2 cr": _timm("swinv2_cr_tiny_ns_224", 128, img_size=128),
    "relative positions": _timm("vit_relpos_small_patch16_224", 64, img_size=64, depth=2),
    "sam": _timm(
        "samvit_base_patch16", 64, img_size=64, depth=3, global_attn_indexes=(2,), window_size=2
    ),
    "naflex": _timm("naflexvit_base_patch16_gap", 64),
    "hiera": _timm("hiera_tiny_224", 224),
    "mvit v2": _timm("mvitv2_tiny", 64),
    "pvt v2": _timm("pvt_v2_b0", 64),
    "twins": _timm("twins_svt_small", 64),
    "maxvit": _timm("maxvit_nano_rw_256", 64, img_size=64),
    "coatnet": _timm("coatnet_nano_rw_224", 64, img_size=64),
    "xcit": _timm("xcit_nano_12_p16_224", 64),
    "cait": _timm("cait_xxs24_224", 64, img_size=64, depth=3),
    "volo": _timm("volo_d1_224", 64, img_size=64),
    "efficientformer": _timm("efficientformer_l1", 224),
    "levit": _timm("levit_128s", 224),
    "tiny vit": _timm("tiny_vit_5m_224", 224),
    "davit": _timm("davit_tiny", 64),
    "focalnet": _timm("focalnet_tiny_srf", 64),
    "gcvit": _timm("gcvit_xxtiny", 64, img_size=64),
    "mixer": _timm("mixer_s32_224", 224),
    "crossvit": _timm("crossvit_tiny_240", 240),
    "pit": _timm("pit_ti_224", 224),
    "poolformer": _timm("poolformer_s12", 64),
    "mobilevit": _timm("mobilevit_xxs", 64),
    "edgenext": _timm("edgenext_xx_small", 64),
    "convit": _timm("convit_tiny", 224, depth=2),
    "tnt": _timm("tnt_s_legacy_patch16_224", 224),
    "convnext": _timm("convnext_atto", 64),
    "convnext v2": _timm("convnextv2_atto", 64),
    "resnet18": _timm("resnet18", 64),
    "resnet50": _timm("resnet50", 64),
    "efficientnet": _timm("efficientnet_b0", 64),
    "mobilenet v3": _timm("mobilenetv3_small_100", 64),
    "regnet": _timm("regnety_002", 64),
    "densenet": _timm("densenet121", 64),
    "vgg": _timm("vgg11", 64),
    "mambaout": _timm("mambaout_femto", 64),
    # torchvision
    "torchvision swin": Case(_torchvision("swin_v2_t"), image(64)),
    "torchvision vit, dropout": Case(
        _torchvision("VisionTransformer", image_size=64, patch_size=16, num_layers=2, num_heads=3,
                     hidden_dim=96, mlp_dim=384, num_classes=10, attention_dropout=0.1), image(64)),
    "torchvision segmenter": Case(
        _torchvision("segmentation.fcn_resnet50", weights_backbone=None), image(64)
    ),
    # transformers
    "HF swin": Case(
        _hf("SwinForImageClassification", image_size=224, depths=[1, 1, 2, 1]), _pixels(224)
    ),
    "HF segformer": Case(_hf("SegformerForSemanticSegmentation"), _pixels(64)),
    "HF convnext": Case(_hf("ConvNextForImageClassification", depths=[1, 1, 2, 1]), _pixels(64)),
    "HF vivit": Case(
        _hf("VivitForVideoClassification", image_size=32, num_frames=4, **_SMALL), _pixels(32, 4)
    ),
    "HF videomae": Case(
        _hf("VideoMAEForVideoClassification", image_size=32, num_frames=4, **_SMALL), _pixels(32, 4)
    ),
    "HF clip": Case(
        _hf("CLIPModel", vision_config={**_TINY, "image_size": 32, "patch_size": 8},
            text_config={**_TINY, "vocab_size": 100, "eos_token_id": 2}, projection_dim=16),
        lambda b: {"pixel_values": torch.rand(b, 3, 32, 32),
                   "input_ids": torch.zeros(b, 16, dtype=torch.long)}),
    "HF yolos": Case(
        _hf("YolosForObjectDetection", image_size=[32, 48], num_detection_tokens=5, **_SMALL),
        lambda b: {"pixel_values": torch.rand(b, 3, 32, 48)}),
    "HF depth anything": Case(_hf("DepthAnythingForDepthEstimation"), _pixels(70)),
    "HF vit mae": Case(
        _hf("ViTMAEForPreTraining", image_size=32, patch_size=8, **_SMALL,
            decoder_hidden_size=32, decoder_num_hidden_layers=1, decoder_num_attention_heads=2,
            decoder_intermediate_size=64), _pixels(32)),
}  # fmt: skip

# small ones for every run of the tests: a kind each
QUICK = (
    "two towers, contrastive", "student and teacher of crops", "masked autoencoder",
    "U-shaped segmenter", "detector", "video", "frozen backbone", "tied, shared, never called",
    "its own checkpoints", "one dictionary", "guards against overflow", "multilayer perceptron",
    "attention with a learned mask", "adapters of low rank", "swin", "convnext", "point cloud",
    "rows that lie apart", "filter of frequencies", "batched products", "teacher in inference mode",
    "pixels",
)  # fmt: skip
