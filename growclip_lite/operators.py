"""Growth operators: how the weights of a small network fill a larger one.

An operator is a rule for *depth* (which old block each new block comes from) and a rule for *width*
(how one tensor becomes a larger one). Every tensor has two axes that can grow, outputs and inputs,
and what is right for an axis depends on what it means:

- `write`  outputs that are added to the residual stream,
- `read`   inputs from the normalised residual stream,
- `raw`    inputs from the residual stream as it is (adapters only),
- `make`   outputs that are units: attention heads, hidden units, channels inside the stem,
- `use`    inputs from such units,
- `words`  rows of the vocabulary,
- `fixed`  never grows (pixels, positions, embedding).

Why a width can grow without changing the function: normalisation subtracts the mean over the
channels and scales to a fixed length. So where every new channel carries the *mean of the old
channels*, it reads as zero after normalisation, and neither the mean nor the length of the rest
changes. This is the average expansion of LEMON (Wang et al., ICLR 2024). It leaves the old weights
as they are, which keeps the small network a leading corner of the large one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

NOISE = 0.01  # of the standard deviation of a tensor, on Net2Net's copies: tells a copy from its original

Roles = tuple[str, str]


def roles(name: str, patch_size: int) -> Roles:
    """What the first two axes of the tensor called `name` mean; the patch size tells which convolution is the last."""
    if ".stem." in name:
        last = f"image.stem.{patch_size.bit_length() - 2}"
        return ("write" if name == last else "make", "fixed" if name == "image.stem.0" else "use")
    return {
        "qkv": ("make", "read"),
        "out": ("write", "use"),
        "up": ("make", "read"),
        "down": ("write", "use"),
        "position": ("fixed", "write"),
        "token": ("words", "write"),
        "image_adapter": ("write", "raw"),
        "text_adapter": ("write", "raw"),
        "image_projection": ("fixed", "read"),
        "text_projection": ("fixed", "read"),
    }[name.rsplit(".", 1)[-1]]


# ---- depth: (index of the new block, old depth >= 1, new depth) -> index of the old block, or None for a fresh one


def append(block: int, old_depth: int, new_depth: int) -> int | None:
    """New blocks come last and stay fresh. Fresh blocks are silent (`initialize`), hence the identity,
    as in Net2DeeperNet (Chen et al., ICLR 2016) and LEMON's zero-output layers."""
    return block if block < old_depth else None


def stack(block: int, old_depth: int, new_depth: int) -> int | None:
    """Repeats the whole pile: 0 1 0 1 (Gong et al., ICML 2019, "progressively stacking")."""
    return block % old_depth


def interleave(block: int, old_depth: int, new_depth: int) -> int | None:
    """Repeats every block in place: 0 0 1 1 (Chang et al., ICLR 2018, "interpolation")."""
    return block * old_depth // new_depth


# ---- width: (old tensors, fresh tensor of the new shape, roles of its axes, generator) -> new tensor


def corner(sources: list[Tensor], fresh: Tensor, axes: Roles, generator: torch.Generator) -> Tensor:
    """Copies into the leading corner and silences the new paths; preserves the function (our reading).

    New units are fresh but used with weight zero, so gradients reach the use first and the unit next.
    New channels of the residual stream carry the mean of the old ones, which normalisation removes.
    Every slice between the old and the new architecture computes the old function too, which makes
    this the operator for supernets; operators that divide weights among copies lose that.
    """
    new = fresh.clone()
    _leading(new, sources[0].shape).copy_(sources[0])
    for axis in (1, 0):  # inputs first, so that new outputs can be made of complete rows
        old, tail = _head_and_tail(new, axis, sources[0].shape[axis])
        if axes[axis] in ("use", "raw"):
            tail.zero_()
        elif axes[axis] == "write":
            tail.copy_(old.mean(axis, keepdim=True).expand_as(tail))
        elif axes[axis] == "words":
            tail.copy_(_head_and_tail(fresh, axis, sources[0].shape[axis])[1])
    return new


def lemon(sources: list[Tensor], fresh: Tensor, axes: Roles, generator: torch.Generator) -> Tensor:
    """LEMON (Wang et al., ICLR 2024): as `corner`, but new units are copies of old ones; preserves the function.

    A unit and its copies share the old weight of its use, entry by entry in unequal random parts
    that sum to the whole: their gradients then differ, and the copies part company.
    """
    old = sources[0]
    if axes[1] == "use":
        old = _split(old, fresh.shape[1], torch.rand(_with_columns(old, fresh), generator=generator) + 0.5)
    new = corner([old], fresh, axes, generator)
    if axes[0] == "make":
        new = _copies(new[: len(old)], len(fresh), axis=0)
    return new


def net2net(sources: list[Tensor], fresh: Tensor, axes: Roles, generator: torch.Generator) -> Tensor:
    """Net2WiderNet (Chen et al., ICLR 2016): everything new is a copy of something old.

    Inputs that were copied share the old weight equally; copies of units get a little noise, as in
    the source. Copied *units* preserve the function (up to the noise). The source knows no
    residual stream; our reading copies its channels in turn. That preserves the function if every
    grown width is a multiple of the old one; else normalisation weighs some channels twice, and
    the function is preserved only roughly.
    """
    new = _widen_by_copies(sources[0], sources[0], fresh, axes)
    if axes[0] == "make":
        tail = new[len(sources[0]) :]
        tail += NOISE * sources[0].std() * torch.randn(tail.shape, generator=generator)
    return new


def aki(sources: list[Tensor], fresh: Tensor, axes: Roles, generator: torch.Generator) -> Tensor:
    """bert2BERT's advanced knowledge initialisation (Chen et al., ACL 2022).

    As `net2net` without noise, but new outputs of a block are copied from the *next* block
    (`sources[-1]`), which breaks the symmetry and gives up preserving the function.
    """
    return _widen_by_copies(sources[0], sources[-1], fresh, axes)


def _widen_by_copies(old: Tensor, donor: Tensor, fresh: Tensor, axes: Roles) -> Tensor:
    """Inputs: copied and shared out equally. Outputs: those of `old`, then those of `donor`, from the front."""
    columns = fresh.shape[1]
    if axes[1] == "write":  # positions and words: the channels are the columns
        old = donor = _copies(old, columns, axis=1)
    elif axes[1] != "fixed":
        # Copied channels make the stream longer; normalisation takes that back, and this factor undoes it.
        longer = math.sqrt(columns / old.shape[1]) if axes[1] == "read" else 1.0
        old, donor = (_split(w, columns, torch.ones(_with_columns(w, fresh))) * longer for w in (old, donor))
    if axes[0] == "words":
        return torch.cat([old, fresh[len(old) :]])
    return torch.cat([old, _copies(donor, len(fresh), axis=0)[len(donor) :]])


def _copies(weight: Tensor, size: int, axis: int) -> Tensor:
    """Repeats a tensor along an axis up to `size`, from the front; whole heads, as they are contiguous."""
    return weight.index_select(axis, torch.arange(size) % weight.shape[axis])


def _split(weight: Tensor, size: int, parts: Tensor) -> Tensor:
    """Copies the columns up to `size`, each column's weight divided among its copies in proportion to `parts`."""
    source = torch.arange(size) % weight.shape[1]
    total = torch.zeros_like(weight).index_add_(1, source, parts)
    return _copies(weight, size, axis=1) * (parts / total.index_select(1, source))


def _with_columns(weight: Tensor, fresh: Tensor) -> tuple[int, ...]:
    return (weight.shape[0], fresh.shape[1], *weight.shape[2:])


def _head_and_tail(weight: Tensor, axis: int, size: int) -> tuple[Tensor, Tensor]:
    return weight.narrow(axis, 0, size), weight.narrow(axis, size, weight.shape[axis] - size)


def _leading(weight: Tensor, shape: tuple[int, ...]) -> Tensor:
    return weight[tuple(slice(size) for size in shape)]


# ---- the table


@dataclass(frozen=True)
class Operator:
    """`depth` and `width` are rules of this module (None inherits nothing); a width rule with a `donor`
    gets the tensor of the next old block as a second source."""

    depth: Callable[[int, int, int], int | None] | None
    width: Callable[[list[Tensor], Tensor, Roles, torch.Generator], Tensor] | None
    donor: bool = False


OPERATORS = {
    "random": Operator(None, None),
    "corner": Operator(append, corner),
    "net2net": Operator(append, net2net),
    "aki": Operator(stack, aki, donor=True),
    "stack": Operator(stack, corner),
    "interleave": Operator(interleave, corner),
    "lemon": Operator(append, lemon),
}
# The embeddings stay the same (tested to 1e-5), but in the case told in `InheritanceReport.preserves_function`.
FUNCTION_PRESERVING = ("corner", "lemon")
