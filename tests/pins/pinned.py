"""What a refactoring must not change: losses and scores of all models, and the flags of the command line.

`python tests/pins/update.py` writes them anew after a change on purpose; `test_pins.py` compares. Only the
public API and the command line are used, so that no move of a module touches this file.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import triptych

HOME = Path(__file__).parent
COMMON: dict[str, Any] = {
    "data": "digits", "steps": 20, "batch": 16, "seed": 0, "precision": "fp32", "threads": 1, "device": "cpu",
}  # fmt: skip
SMALL: dict[str, dict[str, Any]] = {
    "dcgan": {"width": 8},
    "wgan": {"width": 8},
    "stylegan": {"width": 8},
    "vae": {"width": 8},
    "diffusion": {"channels": (16, 24)},
    "flow_matching": {"channels": (16, 24)},
    "hierarchical_vae": {"width": 8},
    "autoencoder": {"down": 2},
    "latent_diffusion": {"channels": (16, 24)},
}
SAMPLES = 100
SCORES_OF = "random-conv"  # needs no training


def train_all(home: Path) -> dict[str, Any]:
    """A short training of each model: name -> run."""
    runs: dict[str, Any] = {}
    for name, settings in SMALL.items():
        more = dict(settings)
        if name == "latent_diffusion":
            more |= {"components": {"first_stage": runs["autoencoder"].path}, "force_first_stage": True}
        runs[name] = triptych.train(name, runs=home, **COMMON, **more)
    return runs


def losses_of(run: Any) -> dict[str, list[float]]:
    """Every player's losses in order, by name; a player that does not move each step has fewer."""
    lines = run.log()
    assert [line["step"] for line in lines] == list(range(1, COMMON["steps"] + 1))
    names = sorted({name for line in lines for name in line if name.endswith("/loss")})
    return {name: [float(f"{line[name]:.7g}") for line in lines if name in line] for name in names}


def scores_of(run: Any) -> dict[str, float]:
    """An evaluation's scores by name, with the floors and interval ends that they have."""
    scores: dict[str, float] = {}
    for score in triptych.evaluate(triptych.load(run.path), samples=SAMPLES, features=SCORES_OF):
        scores[score.name] = float(f"{score.value:.7g}")
        for end in ("low", "high", "floor"):
            if (value := getattr(score, end)) is not None:
                scores[f"{score.name} {end}"] = float(f"{value:.7g}")
    return scores


def help_of(words: list[str], capture: Any) -> str:
    """What a command prints for --help."""
    from triptych.cli import main

    capture.readouterr()
    try:
        main([*words, "--help"])
    except SystemExit as end:
        assert not end.code, words
    return str(capture.readouterr().out)


def flags_in(text: str) -> list[str]:
    """The flags that a help text lists (those that it only mentions stand within a line)."""
    flags: set[str] = set()
    for line in text.splitlines():
        if listed := re.match(r"[\s│|]*((?:-h, )?--[a-z][\w.-]*(?:, --[a-z][\w.-]*)*)", line):
            flags |= set(re.findall(r"--[\w.-]+", listed[1]))
    return sorted(flags - {"--help"})


def flags_of_all(runs: Mapping[str, Any], capture: Any) -> dict[str, list[str]]:
    """Command -> its flags, for every verb, every model and every act of `steer`."""
    overview = help_of([], capture)
    verbs = re.findall(r"^  ([a-z]+) +\S", overview.split("usage:")[1].split("start with:")[0], re.M)
    assert len(verbs) >= 12
    commands: dict[str, list[str]] = {}
    acts = re.findall(r"^  ([a-z]+) ", help_of(["steer", str(runs["stylegan"].path)], capture), re.M)
    assert len(acts) >= 8
    for verb in verbs:
        if verb == "train":
            commands |= {f"train {name}": ["train", name] for name in runs}
        elif verb == "sample":
            commands |= {f"sample ({name})": ["sample", str(run.path)] for name, run in runs.items()}
        elif verb == "steer":
            path = str(runs["stylegan"].path)
            commands |= {f"steer (stylegan) {act}": ["steer", path, act] for act in acts}
        elif verb == "data":
            commands["data inspect"] = ["data", "inspect"]
        else:
            commands[verb] = [verb]
    return {title: flags_in(help_of(words, capture)) for title, words in commands.items()}


def stored(name: str) -> Any:
    """A stored file's content."""
    return json.loads((HOME / f"{name}.json").read_text(encoding="utf-8"))


def compute(home: Path, capture: Any) -> dict[str, Any]:
    """All that is stored, computed now."""
    os.environ["COLUMNS"] = "200"
    runs = train_all(home)
    return {
        "losses": {name: losses_of(run) for name, run in runs.items()},
        "scores": {name: scores_of(run) for name, run in runs.items()},
        "flags": flags_of_all(runs, capture),
    }


def approximately(values: Any, tolerance: float) -> Any:
    """Equal within a relative tolerance; near zero within a tenth of it."""
    return pytest.approx(values, rel=tolerance, abs=tolerance / 10)
