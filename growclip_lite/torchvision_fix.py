"""Imports torchvision also where its build does not match torch's.

A torchvision wheel built against the CUDA build of torch cannot register its compiled operators with a CPU
build; its Python part then fails on import, because it describes operators that were never defined. The package
needs only the datasets, transforms and models, which use none of these operators.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import torch

# The operators that torchvision describes while it is imported; both take the same arguments.
MISSING_OPERATORS = ("nms", "qnms")
ARGUMENTS = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"

# torch forgets a library's definitions when the object goes, so this list keeps them alive.
_libraries: list[torch.library.Library] = []


def import_torchvision() -> ModuleType:
    """Returns the torchvision module; detection operators may be missing from it, everything else works.

    Raises what the plain import raises (`ModuleNotFoundError` where torchvision is not installed), except for the
    missing operator `torchvision::nms`, which is defined before a second try.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "operator torchvision::nms does not exist" not in str(error):
            raise
    # A failed import leaves the submodules behind that did load; they would hide the second try's own.
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "DEF")
    for operator in MISSING_OPERATORS:
        library.define(operator + ARGUMENTS)
    _libraries.append(library)
    return importlib.import_module("torchvision")
