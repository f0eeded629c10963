"""Suggestions for mistyped names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

CUTOFF = 0.5  # share of letters in common, as difflib counts it, below which nothing is proposed

MODELS_ELSEWHERE = {  # what other tools and papers call what a model does -> its name
    "gan": "dcgan", "ddpm": "diffusion", "ddim": "diffusion", "unet": "diffusion", "text2img": "diffusion",
    "txt2img": "diffusion", "text-to-image": "diffusion", "stable-diffusion": "diffusion",
    "autoencoder": "vae", "wgan-gp": "wgan", "stylegan2": "stylegan", "stylegan3": "stylegan",
    "flow": "flow_matching", "rectified-flow": "flow_matching", "reflow": "flow_matching",
    "cfm": "flow_matching",
}  # fmt: skip
VERBS_ELSEWHERE = {  # the same for verbs
    "generate": "sample", "draw": "sample", "text2img": "sample", "txt2img": "sample", "fit": "train",
    "run": "train", "continue": "resume", "restart": "resume", "score": "evaluate", "fid": "evaluate",
    "test": "evaluate", "eval": "evaluate", "interpolate": "steer", "invert": "steer", "rank": "compare",
    "html": "report", "show": "report", "inspect": "data", "benchmark": "duel",
}  # fmt: skip
FLAGS_ELSEWHERE = {  # the same for flags of `train`, and what older versions called them
    "learning-rate": "lr", "rate": "lr", "critic-rate": "critic-lr", "rate-end": "lr-end",
    "batch-size": "batch", "iterations": "steps", "max-steps": "steps", "num-epochs": "epochs",
    "dataset": "data", "resolution": "size", "z-dim": "latent", "latent-dim": "latent",
    "generator-every": "generator-interval", "n-critic": "generator-interval", "strength": "penalty-weight",
    "colour": "color", "average": "ema-std", "widest": "max-channels", "mixing": "mixing-probability",
}  # fmt: skip


def nearest(word: str, known: Iterable[str], meant: Mapping[str, str] | None = None) -> str | None:
    """Find the known name that a mistyped word most likely stands for.

    Case and punctuation are ignored: "minmax" is "min-max".

    Args:
        word: What was typed.
        known: The existing names, the more usual first.
        meant: What other tools call things: their name -> ours. Only entries that lead to a known name count.

    Returns:
        The name, or None where none is similar.
    """
    names = list(known)
    typed = letters(word)
    for other, ours in (meant or {}).items():
        if letters(other) == typed and ours in names:
            return ours
    plain = {letters(name): name for name in reversed(names)}  # of equal ones the first counts
    if typed in plain:
        return plain[typed]
    found = difflib.get_close_matches(typed, plain, 1, cutoff=max(CUTOFF, 0.6 if len(typed) < 4 else 0))
    if found:
        return plain[found[0]]
    inside = [name for form, name in plain.items() if len(typed) >= 3 and typed in form]
    return inside[-1] if inside else None


def letters(name: str) -> str:
    """A name in lower case, letters and digits only: "Ankle boot" -> "ankleboot"."""
    return "".join(sign for sign in name.casefold() if sign.isalnum()) or name


def did_you_mean(word: str, known: Iterable[str], meant: Mapping[str, str] | None = None) -> str:
    """Phrase the suggestion of `nearest` for the end of an error message.

    Args:
        word: What was typed.
        known: The existing names, the more usual first.
        meant: What other tools call things: their name -> ours.

    Returns:
        " Did you mean train?", with a space before it; "" where none is similar.
    """
    found = nearest(word, known, meant)
    return "" if found is None else f" Did you mean {found}?"
