"""Parameter inheriting with momentum (PIM): the weights of a small model start a larger one.

    theta_new = m * operator(theta_old) + (1 - m) * theta_init

with m the momentum and theta_init a fresh initialisation of the larger network; m = 1 is plain
inheriting, m = 0 is training from scratch. The paper's abstract names PIM without a formula: this
is our reading A, a relative of shrink-and-perturb (Ash and Adams, NeurIPS 2020). Reading B, the
momentum growth of AutoProg (Li et al., CVPR 2022), inherits from a running average of the trained
weights: pass the averaged model as `old`.

Inheriting is planned before it is done: one entry for every tensor of the new model says where it
comes from. The plan is also the report.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from growclip_lite.architecture import HEAD_SIZE, Architecture, ModelConfig, tensor_shapes
from growclip_lite.errors import InputError
from growclip_lite.model import GrowCLIP, initialize
from growclip_lite.operators import FUNCTION_PRESERVING, OPERATORS, Operator, roles

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Entry:
    """Where one tensor of the new model comes from.

    `sources` name old tensors: the first fills the leading corner, a second one (`aki`) lends copies
    for the rest; none means fresh. `rule` is "copy", "fresh" or the width rule that fills the rest.
    """

    target: str
    shape: Shape
    sources: tuple[str, ...] = ()
    source_shape: Shape = ()
    rule: str = "fresh"

    @property
    def corner(self) -> Shape:
        """Extent of the leading corner that the first source fills."""
        return tuple(min(new, old) for new, old in zip(self.shape, self.source_shape, strict=True))

    @property
    def inherited(self) -> int:
        """Number of weights in that corner; what a rule makes of them for the rest is not counted."""
        return _count(self.corner) if self.sources else 0

    @property
    def status(self) -> str:
        """ "copied", "partly copied" or "fresh"."""
        if not self.sources:
            return "fresh"
        return "copied" if self.corner == self.shape else "partly copied"


@dataclass(frozen=True)
class InheritanceReport:
    """What `inherit` did with every tensor; `dropped` names old tensors of which something was lost."""

    operator: str
    momentum: float
    entries: tuple[Entry, ...]
    dropped: tuple[str, ...]

    @property
    def inherited_share(self) -> float:
        """Share of the new model's weights that lie in a corner filled by an old tensor."""
        return sum(entry.inherited for entry in self.entries) / sum(_count(entry.shape) for entry in self.entries)

    @property
    def preserves_function(self) -> bool:
        """True promises the old embeddings (to rounding). It takes a function-preserving operator, momentum 1
        and nothing dropped. Something is dropped only where a first shared block is narrower than an encoder.
        """
        return self.operator in FUNCTION_PRESERVING and self.momentum == 1 and not self.dropped

    def __str__(self) -> str:
        counts = {status: 0 for status in ("copied", "partly copied", "fresh")}
        for entry in self.entries:
            counts[entry.status] += 1
        tensors = ", ".join(f"{count} {status}" for status, count in counts.items())
        lost = f"; dropped: {', '.join(self.dropped)}" if self.dropped else ""
        return f"{self.operator}, momentum {self.momentum:g}: {tensors}; {self.inherited_share:.0%} of weights{lost}"


def inherit(
    old: GrowCLIP,
    architecture: Architecture,
    *,
    momentum: float = 1.0,
    operator: str = "corner",
    seed: int,
    vocab_size: int | None = None,
) -> tuple[GrowCLIP, InheritanceReport]:
    """A model of `architecture` that starts from the weights of `old`, which is left unchanged.

    `seed` decides all fresh weights: momentum 0 gives `new_model(architecture, config, seed)`.
    `vocab_size` may exceed the old one (None keeps it): old words keep their rows, new words are
    fresh. The new model has the tokenizer, precision, device and mode of the old one.
    Raises `InputError` where the momentum is outside [0, 1], the operator is unknown, or the
    architecture or the vocabulary would shrink.
    """
    config = old.config if vocab_size is None else replace(old.config, vocab_size=vocab_size)
    check_request(old, architecture, config, momentum, operator)
    generator = torch.Generator().manual_seed(seed)
    new = initialize(GrowCLIP(architecture, config, old.tokenizer), generator)

    old_state = {name: weight.detach().cpu() for name, weight in old.state_dict().items()}
    sources = implied_adapters(old.architecture) | old_state
    plan = make_plan(sources, tensor_shapes(architecture, config), OPERATORS[operator])

    fresh = new.state_dict()
    inherited = {entry.target: _fill(entry, sources, fresh, operator, config, generator) for entry in plan}
    new.load_state_dict(blend(inherited, fresh, momentum))
    new.compute_dtype = old.compute_dtype
    new.to(old.logit_scale.device).train(old.training)
    return new, InheritanceReport(operator, momentum, plan, _dropped(plan, old_state))


def blend(inherited: dict[str, Tensor], fresh: dict[str, Tensor], momentum: float) -> dict[str, Tensor]:
    """m * inherited + (1 - m) * fresh, tensor by tensor; exact at both ends (our reading A of PIM)."""
    return {name: momentum * inherited[name] + (1 - momentum) * fresh[name] for name in fresh}


def check_request(
    old: GrowCLIP, architecture: Architecture, config: ModelConfig, momentum: float, operator: str
) -> None:
    """Raises `InputError` for anything that `inherit` cannot do."""
    if isinstance(momentum, bool) or not isinstance(momentum, int | float) or not 0 <= momentum <= 1:
        raise InputError(f"momentum is {momentum!r}, but must be a number from 0 to 1.")
    if operator not in OPERATORS:
        raise InputError(f"operator is {operator!r}, but must be one of {', '.join(OPERATORS)}.")
    for name, size in old.architecture.to_dict().items():
        if (wanted := getattr(architecture, name)) < size:
            raise InputError(f"{name} would shrink from {size} to {wanted}, but inheriting needs at least {size}.")
    if config.vocab_size < old.config.vocab_size:
        raise InputError(f"vocab_size is {config.vocab_size}, but must be at least the old {old.config.vocab_size}.")


def implied_adapters(architecture: Architecture) -> dict[str, Tensor]:
    """Identity adapters (D, D): at shared depth 0 a model behaves as if it had these, so that the adapters in
    front of a first shared block can grow out of them. Learned adapters take precedence."""
    image, text = architecture.image_width * HEAD_SIZE, architecture.text_width * HEAD_SIZE
    return {"shared.image_adapter": torch.eye(image), "shared.text_adapter": torch.eye(text)}


def make_plan(sources: dict[str, Tensor], shapes: dict[str, Shape], operator: Operator) -> tuple[Entry, ...]:
    """One entry for every name in `shapes`, in that order."""
    return tuple(_entry(name, shape, sources, shapes, operator) for name, shape in shapes.items())


def _entry(name: str, shape: Shape, sources: dict[str, Tensor], shapes: dict[str, Shape], operator: Operator) -> Entry:
    if operator.width is None:
        return Entry(name, shape)
    names = (name,)
    if ".blocks." in name:
        encoder, _, block, tensor = name.split(".")
        old_depth, new_depth = _depth(encoder, sources), _depth(encoder, shapes)
        source = operator.depth(int(block), old_depth, new_depth) if old_depth else None
        if source is None:
            return Entry(name, shape)
        upper = min(source + 1, old_depth - 1)  # the next block, or the last one itself
        names = tuple(f"{encoder}.blocks.{i}.{tensor}" for i in ((source, upper) if operator.donor else (source,)))
    source_shape = tuple(sources[names[0]].shape)
    if source_shape == shape:
        return Entry(name, shape, names[:1], source_shape, "copy")
    return Entry(name, shape, names, source_shape, operator.width.__name__)


def _depth(encoder: str, names: dict[str, object]) -> int:
    return sum(name.startswith(f"{encoder}.blocks.") and name.endswith(".qkv") for name in names)


def _fill(
    entry: Entry,
    sources: dict[str, Tensor],
    fresh: dict[str, Tensor],
    operator: str,
    config: ModelConfig,
    generator: torch.Generator,
) -> Tensor:
    if entry.rule == "fresh":
        return fresh[entry.target]
    corner = tuple(slice(size) for size in entry.corner)
    tensors = [sources[name][corner] for name in entry.sources]
    if entry.rule == "copy":
        return tensors[0]
    width, target, axes = OPERATORS[operator].width, fresh[entry.target], roles(entry.target, config.patch_size)
    if ".stem." in entry.target:  # a unit of (outputs, 9 * inputs) is a kernel of 9 numbers, not one column
        tensors = [tensor.unflatten(1, (-1, 9)) for tensor in tensors]
        return width(tensors, target.unflatten(1, (-1, 9)), axes, generator).flatten(1)
    return width(tensors, target, axes, generator)


def _dropped(plan: tuple[Entry, ...], old_state: dict[str, Tensor]) -> tuple[str, ...]:
    whole = {name for entry in plan if entry.sources and entry.corner == entry.source_shape for name in entry.sources}
    return tuple(name for name in old_state if name not in whole)


def _count(shape: Shape) -> int:
    return torch.Size(shape).numel()
