"""Wrong answers to the exercises of lesson 08: mistakes that students make."""

import torch


def _fresh_everywhere(up, down, fresh_up, fresh_down):
    """Copies the corners and leaves the new paths open."""
    new_up, new_down = fresh_up.clone(), fresh_down.clone()
    new_up[: len(up)], new_down[:, : len(up)] = up, down
    return new_up, new_down


def _zeros_everywhere(up, down, fresh_up, fresh_down):
    """Keeps the function, but the new units are dead."""
    new_up, new_down = torch.zeros_like(fresh_up), torch.zeros_like(fresh_down)
    new_up[: len(up)], new_down[:, : len(up)] = up, down
    return new_up, new_down


def _one_alive(up, down, fresh_up, fresh_down):
    """Only the first new unit has weights."""
    new_up, new_down = fresh_up.clone(), torch.zeros_like(fresh_down)
    new_up[: len(up)], new_down[:, : len(up)] = up, down
    new_up[len(up) + 1 :] = 0
    return new_up, new_down


def _in_place(up, down, fresh_up, fresh_down):
    fresh_up[: len(up)], fresh_down[:, : len(up)] = up, down
    fresh_down[:, len(up) :] = 0
    return fresh_up, fresh_down


def _without_sharing(first, second, unit, copies):
    rows, columns = first[[unit] * copies], second[:, [unit] * copies]
    return torch.cat([first, rows]), torch.cat([second, columns], 1)


def _halves_always(first, second, unit, copies):
    second = second.clone()
    second[:, unit] /= 2
    rows, columns = first[[unit] * copies], second[:, [unit] * copies]
    return torch.cat([first, rows]), torch.cat([second, columns], 1)


def _silent_copies(first, second, unit, copies):
    columns = torch.zeros_like(second[:, [unit] * copies])
    return torch.cat([first, first[[unit] * copies]]), torch.cat([second, columns], 1)


WRONG = {
    "check_widen_hidden": [_fresh_everywhere, _zeros_everywhere, _one_alive, _in_place],
    "check_split": [_without_sharing, _halves_always, _silent_copies],
    "check_blocks_of_stack": [
        lambda old, new: [block * old // new for block in range(new)],
        lambda old, new: [min(block, old - 1) for block in range(new)],
        lambda old, new: list(range(new)),
    ],
}
