"""Inheriting: which operators keep the function, what is reported, and that nothing grown is dead."""

from dataclasses import replace
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from tiny import perturbed_model

from growclip_lite import operators
from growclip_lite.architecture import HEAD_SIZE, Architecture, ModelConfig, tensor_shapes
from growclip_lite.errors import InputError
from growclip_lite.inherit import blend, inherit
from growclip_lite.model import GrowCLIP, new_model
from growclip_lite.operators import FUNCTION_PRESERVING, OPERATORS

CONFIG = ModelConfig(image_size=16, patch_size=4, context_length=10, vocab_size=30, embed_dim=24)
BASES = {
    "equal widths": Architecture(2, 2, 2, 2, 2, 2),
    "narrow image": Architecture(1, 1, 2, 2, 1, 2),
    "narrow shared": Architecture(2, 3, 1, 2, 2, 1),
    "wide shared": Architecture(1, 1, 1, 1, 1, 3),
    "no shared": Architecture(1, 2, 2, 1, 0, 2),
}
DIMENSIONS = tuple(BASES["no shared"].to_dict())


def trained(architecture: Architecture, config: ModelConfig = CONFIG) -> GrowCLIP:
    return perturbed_model(architecture, config)


def pairs(config: ModelConfig = CONFIG, count: int = 8, padded: bool = True):
    generator = torch.Generator().manual_seed(2)
    images = torch.rand(count, 3, config.image_size, config.image_size, generator=generator)
    tokens = torch.randint(1, CONFIG.vocab_size, (count, config.context_length), generator=generator)
    if padded:
        for i in range(count):
            tokens[i, config.context_length - i :] = 0
    return images, tokens


@torch.no_grad()
def difference(one, other) -> float:
    images, tokens = pairs(one.config)
    return max(
        (one.encode_image(images) - other.encode_image(images)).abs().max().item(),
        (one.encode_text(tokens) - other.encode_text(tokens)).abs().max().item(),
    )


def grown(architecture: Architecture, growth: str) -> Architecture:
    if growth == "all":
        return Architecture(*(size + 1 for size in architecture.sizes))
    if growth == "double":
        return Architecture(*(2 * size for size in architecture.sizes))
    return replace(architecture, **{growth: getattr(architecture, growth) + 1})


def equal_states(one, other) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# ---- the function


@pytest.mark.parametrize("operator", FUNCTION_PRESERVING)
@pytest.mark.parametrize("growth", [*DIMENSIONS, "all", "double"])
@pytest.mark.parametrize("base", BASES)
def test_function_is_preserved(base, growth, operator):
    old = trained(BASES[base])
    new, report = inherit(old, grown(BASES[base], growth), operator=operator, seed=3, vocab_size=37)
    assert report.preserves_function
    assert difference(old, new) <= 1e-5


@pytest.mark.parametrize("operator", FUNCTION_PRESERVING)
@pytest.mark.parametrize("patch_size", [2, 8])
def test_function_is_preserved_with_other_stems(patch_size, operator):
    old = trained(BASES["narrow image"], replace(CONFIG, patch_size=patch_size))
    new, _ = inherit(old, grown(BASES["narrow image"], "all"), operator=operator, seed=3)
    assert difference(old, new) <= 1e-5


@pytest.mark.parametrize("operator", FUNCTION_PRESERVING)
def test_function_survives_growing_twice(operator):
    old = trained(BASES["no shared"])
    once, _ = inherit(old, grown(old.architecture, "shared_depth"), operator=operator, seed=3)
    twice, _ = inherit(once, grown(once.architecture, "all"), operator=operator, seed=4)
    assert difference(old, twice) <= 1e-5


@pytest.mark.parametrize("operator", FUNCTION_PRESERVING)
def test_function_does_not_depend_on_the_scale_of_the_stream(operator):
    """A nearly silent residual stream is where a careless epsilon of the normalisation would show."""
    old = trained(Architecture(1, 1, 1, 1, 1, 1))
    with torch.no_grad():
        for name, weight in old.named_parameters():
            if name.endswith(("position", "token", "out", "down", "stem.1")):
                weight *= 0.03
    new, _ = inherit(old, grown(old.architecture, "all"), operator=operator, seed=3)
    assert difference(old, new) <= 1e-5


@pytest.mark.parametrize("operator", FUNCTION_PRESERVING)
def test_a_first_shared_block_narrower_than_an_encoder_is_reported(operator):
    old = trained(Architecture(1, 2, 1, 1, 0, 1))
    new, report = inherit(old, grown(old.architecture, "shared_depth"), operator=operator, seed=3)
    assert report.dropped == ("image_projection",) and not report.preserves_function
    _, tokens = pairs()
    assert (old.encode_text(tokens) - new.encode_text(tokens)).abs().max() <= 1e-5  # this side still fits


@pytest.mark.parametrize("operator", ["stack", "interleave", "net2net", "aki"])
def test_lossy_operators_do_not_claim_to_preserve(operator):
    old = trained(BASES["equal widths"])
    new, report = inherit(old, grown(old.architecture, "all"), operator=operator, seed=3)
    assert not report.preserves_function
    assert difference(old, new) > 1e-3


@pytest.mark.parametrize("growth", ["image_depth", "text_depth", "shared_depth"])
def test_net2net_preserves_the_function_in_depth(growth):
    old = trained(BASES["equal widths"])
    new, _ = inherit(old, grown(old.architecture, growth), operator="net2net", seed=3)
    assert difference(old, new) <= 1e-5


@pytest.mark.parametrize("base", BASES)
def test_net2net_preserves_the_function_where_widths_double(base, monkeypatch):
    old = trained(BASES[base])
    noisy, _ = inherit(old, grown(old.architecture, "double"), operator="net2net", seed=3)
    assert 5e-4 < difference(old, noisy) < 0.05
    monkeypatch.setattr(operators, "NOISE", 0.0)
    exact, _ = inherit(old, grown(old.architecture, "double"), operator="net2net", seed=3)
    assert difference(old, exact) <= 1e-4  # the stream is longer, so normalisation's epsilon weighs less


# ---- the two ends of the momentum


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("operator", [name for name in OPERATORS if name != "random"])
def test_same_architecture_is_bit_identical(operator, base):
    old = trained(BASES[base])
    new, report = inherit(old, BASES[base], operator=operator, seed=3)
    assert equal_states(old, new)
    assert {entry.status for entry in report.entries} == {"copied"} and report.inherited_share == 1


@pytest.mark.parametrize("operator", OPERATORS)
def test_momentum_zero_is_the_fresh_model(operator):
    old = trained(BASES["narrow image"])
    larger = grown(old.architecture, "all")
    new, _ = inherit(old, larger, momentum=0.0, operator=operator, seed=3, vocab_size=37)
    assert equal_states(new, new_model(larger, replace(CONFIG, vocab_size=37), seed=3))


def test_random_inherits_nothing():
    old = trained(BASES["narrow image"])
    new, report = inherit(old, old.architecture, operator="random", seed=3)
    assert equal_states(new, new_model(old.architecture, CONFIG, seed=3))
    assert report.inherited_share == 0 and set(report.dropped) == set(old.state_dict())


def test_blend():
    one, other = {"w": torch.tensor([0.1, 3.0])}, {"w": torch.tensor([0.7, -1.0])}
    assert torch.equal(blend(one, other, 1.0)["w"], one["w"])
    assert torch.equal(blend(one, other, 0.0)["w"], other["w"])
    assert torch.allclose(blend(one, other, 0.75)["w"], torch.tensor([0.25, 2.0]))


def test_momentum_mixes_the_two_ends():
    old = trained(BASES["equal widths"])
    larger = grown(old.architecture, "all")
    states = [inherit(old, larger, momentum=m, seed=3)[0].state_dict() for m in (0.0, 0.25, 1.0)]
    for name, mixed in states[1].items():
        assert torch.allclose(mixed, 0.75 * states[0][name] + 0.25 * states[2][name], atol=1e-6)


# ---- structure


@pytest.mark.parametrize("operator", OPERATORS)
def test_old_model_is_left_unchanged(operator):
    old, witness = trained(BASES["narrow shared"]), trained(BASES["narrow shared"])
    new, _ = inherit(old, grown(old.architecture, "all"), operator=operator, seed=3, vocab_size=37)
    same, _ = inherit(old, old.architecture, operator=operator, seed=3)
    with torch.no_grad():
        for weight in (*new.parameters(), *same.parameters()):
            weight.fill_(7.0)
    assert equal_states(old, witness) and old.config == CONFIG and old.architecture == BASES["narrow shared"]


def test_new_model_keeps_precision_mode_and_tokenizer():
    old = trained(BASES["narrow shared"]).eval()
    old.compute_dtype, old.tokenizer = torch.bfloat16, object()
    new, _ = inherit(old, grown(old.architecture, "all"), seed=3)
    assert new.compute_dtype is torch.bfloat16 and not new.training and new.tokenizer is old.tokenizer
    assert all(weight.requires_grad for weight in new.parameters())


@pytest.mark.parametrize("operator", OPERATORS)
def test_seed_decides_everything(operator):
    old = trained(BASES["equal widths"])
    larger = grown(old.architecture, "all")
    first, second, other = (inherit(old, larger, operator=operator, seed=s, vocab_size=37)[0] for s in (3, 3, 4))
    assert equal_states(first, second) and not equal_states(first, other)


@pytest.mark.parametrize("operator", ["corner", "stack", "interleave"])
def test_old_weights_are_leading_corners(operator):
    """What `search` rests on: a slice of the supernet, right after inheriting, is the old model."""
    old = trained(BASES["narrow shared"])
    larger = grown(grown(old.architecture, "image_width"), "shared_width")
    new = inherit(old, larger, operator=operator, seed=3, vocab_size=37)[0].state_dict()
    for name, weight in old.state_dict().items():
        assert torch.equal(new[name][tuple(slice(size) for size in weight.shape)], weight), name


@pytest.mark.parametrize("base", ["equal widths", "narrow image"])
def test_corner_makes_every_member_of_a_supernet_the_old_function(base):
    old = trained(BASES[base])
    supernet = inherit(old, grown(old.architecture, "all"), operator="corner", seed=3)[0].state_dict()
    for steps in product((0, 1), repeat=6):
        member = Architecture(*(size + step for size, step in zip(old.architecture.sizes, steps, strict=True)))
        model = GrowCLIP(member, CONFIG)
        shapes = tensor_shapes(member, CONFIG)
        model.load_state_dict({n: supernet[n][tuple(slice(size) for size in shape)] for n, shape in shapes.items()})
        assert difference(old, model) <= 1e-5, member


@pytest.mark.parametrize("operator", ["corner", "lemon", "net2net", "aki"])
def test_new_words_are_fresh_in_all_channels(operator):
    old = trained(BASES["equal widths"])
    wide = grown(old.architecture, "text_width")
    new, _ = inherit(old, wide, operator=operator, seed=3, vocab_size=37)
    fresh = new_model(wide, new.config, seed=3)
    assert torch.equal(new.text.token[30:], fresh.text.token[30:])


def heads(qkv: torch.Tensor) -> torch.Tensor:
    """(3 D, D) -> (H, 3, K, D)"""
    return qkv.view(-1, 3, HEAD_SIZE, qkv.shape[1])


def test_heads_stay_whole():
    old = trained(BASES["equal widths"])
    wide = Architecture(2, 3, 2, 2, 2, 2)
    before = heads(old.image.blocks[0].qkv)
    corner = heads(inherit(old, wide, operator="corner", seed=3)[0].image.blocks[0].qkv)
    assert torch.equal(corner[:2, ..., :64], before)
    lemon = heads(inherit(old, wide, operator="lemon", seed=3)[0].image.blocks[0].qkv)
    assert torch.equal(lemon[[0, 1, 2], ..., :64], before[[0, 1, 0]])


def test_lemon_shares_the_use_of_a_unit_unequally():
    old = trained(BASES["equal widths"])
    wide, _ = inherit(old, Architecture(2, 3, 2, 2, 2, 2), operator="lemon", seed=3)
    before, after = old.image.blocks[0].out, wide.image.blocks[0].out[:64]
    assert torch.allclose(after[:, :32] + after[:, 64:], before[:, :32], atol=1e-6)
    assert torch.equal(after[:, 32:64], before[:, 32:])  # head 1 has no copy
    share = after[:, :32] / before[:, :32]
    assert share.min() > 0.2 and share.max() < 0.8 and share.std() > 0.05


def test_lemon_copies_part_company():
    """Gradients of a unit and its copy must not be parallel, or optimisers that normalise keep them twins."""
    old = trained(BASES["equal widths"])
    wide, _ = inherit(old, grown(old.architecture, "image_width"), operator="lemon", seed=3)
    contrastive_loss(wide, *pairs()).backward()
    gradient = wide.image.blocks[0].up.grad
    copies = slice(256, 384)  # of the units 0..127
    assert F.cosine_similarity(gradient[:128], gradient[copies]).abs().median() < 0.99


def test_aki_takes_new_units_from_the_next_block():
    old = trained(BASES["equal widths"])
    wide, _ = inherit(old, Architecture(2, 4, 2, 2, 2, 2), operator="aki", seed=3)
    # Twice the channels, each read twice: half the weight, times sqrt(2) for the longer stream.
    doubled = [torch.cat([block.up, block.up], 1) / 2**0.5 for block in old.image.blocks]
    assert torch.allclose(wide.image.blocks[0].up, torch.cat([doubled[0], doubled[1]]), atol=1e-6)
    assert torch.allclose(wide.image.blocks[1].up, torch.cat([doubled[1], doubled[1]]), atol=1e-6)


@pytest.mark.parametrize(
    ("operator", "order"), [("stack", [0, 1, 0, 1, 0]), ("aki", [0, 1, 0, 1, 0]), ("interleave", [0, 0, 0, 1, 1])]
)
def test_order_of_repeated_blocks(operator, order):
    old = trained(BASES["equal widths"])
    new, _ = inherit(old, Architecture(5, 2, 2, 2, 2, 2), operator=operator, seed=3)
    for block, source in zip(new.image.blocks, order, strict=True):
        assert torch.equal(block.qkv, old.image.blocks[source].qkv)
        assert torch.equal(block.down, old.image.blocks[source].down)


def contrastive_loss(model, images, tokens):
    image_features, text_features, scale = model(images, tokens)
    logits = scale * image_features @ text_features.T
    labels = torch.arange(len(images))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


@pytest.mark.parametrize("operator", FUNCTION_PRESERVING)
@pytest.mark.parametrize("base", ["equal widths", "narrow image", "no shared"])
def test_gradient_reaches_every_new_weight(base, operator):
    """Silent paths must wake: within two steps every entry of every tensor has had a gradient."""
    old = trained(BASES[base])
    new, _ = inherit(old, grown(old.architecture, "all"), operator=operator, seed=3)
    optimizer = torch.optim.SGD(new.parameters(), lr=0.01)
    images, tokens = pairs(count=24, padded=False)
    assert set(tokens.flatten().tolist()) == set(range(1, CONFIG.vocab_size))
    touched = {name: torch.zeros_like(weight, dtype=torch.bool) for name, weight in new.named_parameters()}
    for _ in range(3):
        optimizer.zero_grad()
        contrastive_loss(new, images, tokens).backward()
        for name, weight in new.named_parameters():
            touched[name] |= weight.grad != 0
        optimizer.step()
    touched["text.token"][0] = True  # padding is never looked at
    assert {name: int((~mask).sum()) for name, mask in touched.items() if not mask.all()} == {}


# ---- the report


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("base", BASES)
def test_report_covers_every_tensor(base, operator):
    old = trained(BASES[base])
    new, report = inherit(old, grown(BASES[base], "all"), operator=operator, seed=3, vocab_size=37)
    assert [entry.target for entry in report.entries] == list(new.state_dict())
    for entry in report.entries:
        assert entry.shape == tuple(new.state_dict()[entry.target].shape)
        assert set(entry.sources) <= old.state_dict().keys() | {"shared.image_adapter", "shared.text_adapter"}
        assert (entry.status == "fresh") == (entry.rule == "fresh") == (not entry.sources)
    assert (report.dropped == ()) == (operator != "random")
    assert operator in str(report)


def test_report_tells_copied_partly_copied_and_fresh():
    old = trained(BASES["equal widths"])
    new, report = inherit(old, Architecture(3, 2, 2, 3, 2, 2), seed=3)
    status = {entry.target: entry.status for entry in report.entries}
    assert status["image.blocks.1.qkv"] == "copied"
    assert status["image.blocks.2.qkv"] == "fresh"
    assert status["text.token"] == "partly copied"
    entry = next(entry for entry in report.entries if entry.target == "text.token")
    assert (entry.sources, entry.corner, entry.inherited) == (("text.token",), (30, 64), 30 * 64)
    old_size = sum(weight.numel() for weight in old.parameters())
    new_size = sum(weight.numel() for weight in new.parameters())
    assert report.inherited_share == pytest.approx(old_size / new_size)


# ---- bad input


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"momentum": 1.5}, "momentum is 1.5"),
        ({"momentum": -0.1}, "momentum is -0.1"),
        ({"momentum": float("nan")}, "momentum is nan"),
        ({"momentum": True}, "momentum is True"),
        ({"momentum": "1"}, "momentum is '1'"),
        ({"operator": "magic"}, "operator is 'magic', but must be one of random, corner"),
        ({"architecture": Architecture(2, 2, 2, 1, 2, 2)}, "text_width would shrink from 2 to 1"),
        ({"architecture": Architecture(2, 2, 2, 2, 0, 2)}, "shared_depth would shrink from 2 to 0"),
        ({"vocab_size": 29}, "vocab_size is 29, but must be at least the old 30"),
        ({"vocab_size": 0}, "vocab_size is 0"),
        ({"vocab_size": 30.5}, "vocab_size is 30.5"),
    ],
)
def test_bad_input(change, message):
    request = {"architecture": BASES["equal widths"], "seed": 0} | change
    with pytest.raises(InputError, match=message):
        inherit(trained(BASES["equal widths"]), **request)
