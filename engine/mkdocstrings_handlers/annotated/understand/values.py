"""
# A value in few words

What stands at the end of a line has room for a shape and a number or two. So a tensor is told by its shape, its mean and its spread, with as many digits as mean
something; a number, a short text, a short list by themselves; anything else not at all. PyTorch isn't imported for that: what has a shape and computes like a tensor is one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

# A tensor of these says nothing of its type.
USUAL = {"float32", "int64"}


@dataclass
class Value:
    """What one name was bound to: the first time, and what was different later. `exact` is a value that isn't rounded, `raw` all digits of one that is."""

    shape: str
    text: str
    exact: bool
    raw: str = ""
    later: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        sign = ("= " if self.shape else "") if self.exact else "≈ "
        then = ", ".join(self.later[:2]) + (", …" if len(self.later) > 2 else "")
        words = [f"{sign}{self.text}" if self.text else "", f"(then {then})" if then else ""]
        return " ".join(filter(None, words))


def describe(value: Any, texts: bool = False, numbers: bool = True) -> Value | None:
    """
    A tensor's shape, mean and spread; a number; a short text or list. None for what has no such description. Without `numbers` a tensor's are not asked for.
    A text that a line makes may be about the machine, and isn't told without `texts`.
    """
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and hasattr(value, "dtype"):
        dtype = str(value.dtype).removeprefix("torch.")
        measured = measure(value) if numbers else None
        text, exact = _spread(*measured, bool(shape)) if measured else ("", False)
        words = [dtype] if dtype not in USUAL else []
        words += [str(list(shape))] if shape or not text else []
        return Value(" ".join(words), text, exact)
    if isinstance(value, float):
        short = len(repr(value)) <= 6
        # To the last digit: a clock that has run for weeks hardly moves between two runs.
        return Value("", repr(value) if short else _number(value), short, value.hex())
    if isinstance(value, bool | int | str | tuple | list) and _plain(value, texts):
        text = repr(value)
        return Value("", text, True) if value not in ("", [], ()) and len(text) <= 28 else None
    return None


def measure(value: Any) -> tuple[float, float, bool] | None:
    """
    Mean, standard deviation, and whether all is one number, of what computes like a tensor of PyTorch. Integers that are not one number are labels or indices: their
    mean says nothing.
    """
    # A stand-in for a tensor is being traced: to compute with it would put steps into somebody's graph.
    if type(value).__name__ in {"FakeTensor", "FunctionalTensor", "Proxy"}:
        return None
    numeric = hasattr(value, "detach") and value.numel() and not value.is_complex()
    if not numeric or str(value.dtype).endswith("bool"):
        return None
    try:
        numbers = value.detach().double()
        constant = bool(numbers.min() == numbers.max())
        if not constant and not value.is_floating_point():
            return None
        return numbers.mean().item(), numbers.std(correction=0).item(), constant
    except RuntimeError:  # a tensor that has a shape and no numbers, as on the meta device
        return None


def _plain(value: object, texts: bool) -> bool:
    if isinstance(value, tuple | list):
        return len(value) <= 8 and all(_plain(part, texts) for part in value)
    return isinstance(value, bool | int | float) or (texts and isinstance(value, str))


def _number(value: float) -> str:
    # What is below a millionth is a rounding error here, and another one on another machine.
    return f"{value:.3g}" if abs(value) >= 1e-6 else "0"


def _spread(mean: float, std: float, constant: bool, many: bool) -> tuple[str, bool]:
    """Mean and spread, to the same place: digits beyond the second of the spread say nothing about the mean."""
    if constant or std < 1e-5 * abs(mean):
        exact = constant and mean == float(f"{mean:.3g}") and (many or mean != 0)
        return _number(mean), exact
    size = max(abs(mean), std)
    if size < 1e-6:
        return "0", False
    if not 1e-4 <= size < 1e5:
        return f"{mean:.1e} ± {std:.1e}", False
    digits = max(1 - int(f"{max(std, size / 1000):.1e}".partition("e")[2]), 0)
    middle = f"{mean:.{digits}f}"
    return f"{middle if float(middle) else 0} ± {std:.{digits}f}", False
