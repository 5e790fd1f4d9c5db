"""The model: shapes, exact costs, invariances, gradients; and the validation of its description."""

import json
from dataclasses import asdict, replace

import pytest
import torch
import torch.nn.functional as F
from tiny import perturbed_model
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from growclip_lite.architecture import (
    MAX_UNITS,
    Architecture,
    ModelConfig,
    count_parameters,
    forward_flops,
    tensor_shapes,
    training_flops,
)
from growclip_lite.errors import InputError
from growclip_lite.model import NORM, GrowCLIP, attention, new_model, norm_linear

CONFIG = ModelConfig(image_size=32, patch_size=8, context_length=12, vocab_size=40, embed_dim=24)
ARCHITECTURES = [
    Architecture(1, 1, 1, 1, 0, 1),
    Architecture(2, 3, 1, 2, 0, 5),
    Architecture(2, 2, 2, 2, 2, 2),
    Architecture(1, 3, 2, 1, 2, 2),
    Architecture(2, 1, 1, 2, 1, 3),
]
PATCH_SIZES = [2, 4, 8]
each_model = pytest.mark.parametrize("architecture", ARCHITECTURES, ids=str)
each_patch = pytest.mark.parametrize("patch_size", PATCH_SIZES)


def perturbed(architecture: Architecture, config: ModelConfig = CONFIG) -> GrowCLIP:
    return perturbed_model(architecture, config)


def pairs(config: ModelConfig = CONFIG, count: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    images = torch.rand(count, 3, config.image_size, config.image_size, generator=generator)
    return images, torch.randint(1, config.vocab_size, (count, config.context_length), generator=generator)


# ---- shapes and costs, against the built model


@each_patch
@each_model
def test_shapes_and_parameters(architecture, patch_size):
    config = replace(CONFIG, patch_size=patch_size)
    state = GrowCLIP(architecture, config).state_dict()
    shapes = tensor_shapes(architecture, config)
    assert {name: tuple(weight.shape) for name, weight in state.items()} == shapes
    assert list(state) == list(shapes)
    assert sum(weight.numel() for weight in state.values()) == count_parameters(architecture, config)


@each_patch
@each_model
def test_forward_flops(architecture, patch_size):
    config = replace(CONFIG, patch_size=patch_size)
    model, (images, tokens) = perturbed(architecture, config), pairs(config, count=1)
    with FlopCounterMode(display=False) as counter:  # with gradients, for it does not know the fused kernel of CPUs
        model(images, tokens)
    assert counter.get_total_flops() == forward_flops(architecture, config)


@each_patch
@each_model
def test_training_flops(architecture, patch_size):
    config, batch_size = replace(CONFIG, patch_size=patch_size), 5
    model, (images, tokens) = perturbed(architecture, config), pairs(config, batch_size)
    labels = torch.arange(batch_size)
    with FlopCounterMode(display=False) as counter:
        image_features, text_features, scale = model(images, tokens)
        logits = scale * image_features @ text_features.T
        ((F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2).backward()
    assert counter.get_total_flops() == training_flops(architecture, config, batch_size)


def test_smaller_shapes_are_corners_of_larger_ones():
    small, large = Architecture(1, 1, 2, 1, 1, 2), Architecture(2, 3, 2, 2, 2, 4)
    assert large.contains(small) and not small.contains(large)
    shapes = tensor_shapes(large, CONFIG)
    for name, shape in tensor_shapes(small, CONFIG).items():
        assert all(s <= larger for s, larger in zip(shape, shapes[name], strict=True))


# ---- encoding


@each_model
def test_embeddings_have_unit_norm(architecture):
    model, (images, tokens) = perturbed(architecture), pairs()
    image_features, text_features, scale = model(images, tokens)
    for features in (image_features, text_features):
        assert features.shape == (3, CONFIG.embed_dim) and features.dtype == torch.float32
        assert torch.allclose(features.norm(dim=-1), torch.ones(3), atol=1e-6)
    assert scale == model.logit_scale.exp()
    raw = model.encode_image(images, normalize=False), model.encode_text(tokens, normalize=False)
    assert torch.allclose(F.normalize(raw[0], dim=-1), image_features)
    assert torch.allclose(F.normalize(raw[1], dim=-1), text_features)


@each_model
def test_padding_has_no_influence(architecture):
    model, (_, tokens) = perturbed(architecture), pairs()
    short = model.encode_text(tokens[:, :5])
    padded = torch.cat([tokens[:, :5], torch.zeros(3, 7, dtype=torch.int64)], 1)
    assert torch.allclose(model.encode_text(padded), short, atol=1e-6)
    # The neighbours in the batch have none either.
    mixed = model.encode_text(torch.stack([padded[0], tokens[1]]))
    assert torch.allclose(mixed[0], short[0], atol=1e-6)


def test_a_caption_of_padding_alone_is_finite():
    features = perturbed(ARCHITECTURES[2]).encode_text(torch.zeros(2, CONFIG.context_length, dtype=torch.int64))
    assert torch.isfinite(features).all()


def test_uint8_and_float_pictures_agree():
    model = perturbed(ARCHITECTURES[3])
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    assert torch.equal(model.encode_image(pixels), model.encode_image(pixels.float() / 255))


def test_bfloat16_is_close_to_float32():
    model, (images, tokens) = perturbed(ARCHITECTURES[3]), pairs()
    exact = model(images, tokens)[:2]
    model.compute_dtype = torch.bfloat16
    for rough, features in zip(model(images, tokens)[:2], exact, strict=True):
        assert rough.dtype == torch.float32
        assert F.cosine_similarity(rough, features).min() > 0.99


def test_fresh_weights_follow_the_seed():
    states = [new_model(ARCHITECTURES[3], CONFIG, seed).state_dict() for seed in (0, 0, 1)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["text.token"], states[2]["text.token"])
    assert all(not weight.any() for name, weight in states[0].items() if name.endswith((".out", ".down")))


@pytest.mark.parametrize("masked", [False, True])
def test_attention_equals_the_fused_kernel(masked):
    generator = torch.Generator().manual_seed(4)
    inputs = [torch.randn(2, 3, 7, 32, generator=generator, requires_grad=True) for _ in range(3)]
    bias = None
    if masked:
        bias = torch.zeros(2, 1, 1, 7)
        bias[0, ..., 5:] = -1e4
    plain, fused = attention(*inputs, bias), F.scaled_dot_product_attention(*inputs, attn_mask=bias)
    assert torch.allclose(plain, fused, atol=1e-5)
    for mine, theirs in zip(*(torch.autograd.grad(out.square().sum(), inputs) for out in (plain, fused)), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-4)
    with torch.no_grad():
        assert torch.equal(attention(*inputs, bias), fused)


def test_normalised_length_does_not_depend_on_width():
    x = torch.randn(5, 32, generator=torch.Generator().manual_seed(5))
    assert torch.allclose(norm_linear(x, torch.eye(32)).norm(dim=-1), torch.full((5,), NORM), rtol=1e-4)
    for scale in (1.0, 1e-2, 1e-4):
        wide = torch.cat([x, x.mean(1, keepdim=True).expand(-1, 64)], 1) * scale
        narrow = norm_linear(x * scale, torch.eye(32))
        assert torch.allclose(norm_linear(wide, torch.eye(96))[:, :32], narrow, rtol=1e-4, atol=1e-6)


class DoublePrecision(nn.Module):
    """Embeddings in float64 throughout, which `encode_*` round to float32."""

    def __init__(self, model: GrowCLIP) -> None:
        super().__init__()
        self.model = model.double()

    def forward(self, images, tokens):
        m, bias = self.model, torch.zeros(len(tokens), 1, 1, tokens.shape[1], dtype=torch.float64)
        image = m.shared(m.image(images, torch.float64), "image").mean(1)
        text = m.shared(m.text(tokens, bias, torch.float64), "text", bias).mean(1)
        return norm_linear(image, m.image_projection), norm_linear(text, m.text_projection)


def test_gradients_against_finite_differences():
    config = ModelConfig(image_size=8, patch_size=4, context_length=3, vocab_size=5, embed_dim=8)
    model = DoublePrecision(perturbed(Architecture(1, 1, 1, 1, 1, 2), config))
    images, tokens = pairs(config, count=1)
    state = {name: weight.detach() for name, weight in model.named_parameters()}
    del state["model.logit_scale"]  # acts on the loss, not on the embeddings
    generator = torch.Generator().manual_seed(6)
    picks = {name: torch.randint(weight.numel(), (3,), generator=generator) for name, weight in state.items()}
    picks["model.text.token"] = tokens[0] * 32  # rows of words that occur

    def embeddings(*steps):
        moved = {
            name: weight.flatten().index_add(0, picks[name], step).view_as(weight)
            for (name, weight), step in zip(state.items(), steps, strict=True)
        }
        return torch.func.functional_call(model, moved, (images.double(), tokens))

    assert torch.equal(
        embeddings(*(torch.zeros(3, dtype=torch.float64) for _ in state))[0], model(images.double(), tokens)[0]
    )
    steps = [torch.zeros(3, dtype=torch.float64, requires_grad=True) for _ in state]
    assert torch.autograd.gradcheck(embeddings, steps)


# ---- descriptions


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=str)
def test_architecture_json_round_trip(architecture):
    assert Architecture.from_dict(json.loads(json.dumps(architecture.to_dict()))) == architecture
    assert hash(architecture) == hash(replace(architecture))


def test_config_json_round_trip():
    assert ModelConfig.from_dict(json.loads(json.dumps(asdict(CONFIG)))) == CONFIG
    assert CONFIG.image_tokens == 16


BAD_SIZES = [(n, v) for n in Architecture(1, 1, 1, 1, 1, 1).to_dict() for v in (0, -1, MAX_UNITS + 1, 1.0, True, "1")]
BAD_SIZES.remove(("shared_depth", 0))  # plain CLIP


@pytest.mark.parametrize(("name", "value"), BAD_SIZES)
def test_architecture_refuses(name, value):
    with pytest.raises(InputError, match=f"{name} is {value!r}"):
        replace(Architecture(1, 1, 1, 1, 1, 1), **{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("image_size", 7), ("image_size", 1024), ("image_size", True), ("image_size", 32.0),
        ("patch_size", 1), ("patch_size", 6), ("patch_size", 12), ("patch_size", 64), ("patch_size", "8"),
        ("context_length", 1), ("context_length", 10_000), ("vocab_size", 1), ("vocab_size", 10**9),
        ("embed_dim", 7), ("embed_dim", 4096), ("embed_dim", None),
    ],
)  # fmt: skip
def test_config_refuses(name, value):
    with pytest.raises(InputError, match=f"{name} is {value!r}"):
        replace(CONFIG, **{name: value})


@pytest.mark.parametrize("described", [Architecture(1, 1, 1, 1, 1, 1), CONFIG], ids=["architecture", "config"])
def test_fields_must_be_exactly_the_known_ones(described):
    cls, good = type(described), asdict(described)
    for bad in (good | {"colour": 1}, dict(list(good.items())[1:]), {}, [1], None, "text"):
        with pytest.raises(InputError, match=f"{cls.__name__} needs exactly the fields"):
            cls.from_dict(bad)
