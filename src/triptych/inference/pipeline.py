"""From a name or a path to something that draws."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from triptych.core import images as pictures
from triptych.core import rng as streams
from triptych.core.class_names import labels_as_numbers
from triptych.core.config import read_settings
from triptych.core.device import choose
from triptych.core.errors import UsageError
from triptych.core.style_space import StyleBased
from triptych.core.types import Box, Condition, GenerationStep, LikelihoodQuery
from triptych.core.weights import named_under
from triptych.models.registry import AnyModel, build, load_model_class, model_names, weights_mismatch
from triptych.runs.run import Run, open_run
from triptych.runs.weights import Asked, Which
from triptych.runs.weights import checked as known_weights
from triptych.runs.weights import choose as choose_weights

SAMPLING_BATCH = 64  # of every batch but a lone first one: equal batches give equal bits
Labels = str | Sequence[int] | Sequence[str] | Tensor | np.ndarray | None  # class numbers or names


class Pipeline:
    """A trained model, ready to draw. Pictures are uint8 (N, H, W, C), NumPy."""

    def __init__(
        self,
        model: AnyModel,
        run: Run | None = None,
        class_counts: Sequence[int] | None = None,
        weights: str = "ema",
        step: int | None = None,
        asked: Asked | None = None,
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self.run, self.spec, self.step = run, model.spec, step  # step: after how many the weights are
        self.weights, self.asked = weights, asked  # "ema" or "raw"; how they were chosen, None: unknown
        counts = torch.tensor(class_counts or [1] * max(self.spec.classes, 1), dtype=torch.float64)
        self._class_law = torch.cumsum(counts / counts.sum(), dim=0)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    @property
    def class_names(self) -> list[str]:
        """What the classes are called: from the training data, else their numbers."""
        named = self.run.card.data.class_names if self.run else None
        return list(named or map(str, range(self.spec.classes)))

    def labels_for(self, seeds: Iterable[int]) -> Tensor | None:
        """The labels drawn when none are asked for: (N,) int64 by the training data's class law.

        A function of each seed; None for an unconditional model.
        """
        if not self.model.conditional:
            return None
        draws = [torch.rand(1, generator=streams.generator(int(s), "label")).double() for s in seeds]
        return torch.searchsorted(self._class_law, torch.cat(draws)).clamp(max=self.spec.classes - 1)

    def sample(
        self,
        seeds: Iterable[int],
        labels: Labels = None,
        prompts: Sequence[str] | None = None,
        **controls: Any,
    ) -> np.ndarray:
        """Draw one picture a seed. labels: one for all, one a seed, or None (drawn by the class law); a
        class is named by its number or its name.

        Returns (N, H, W, C) uint8. Raises ValueError for unfit seeds, labels or controls.
        """
        chosen = self._seeds(seeds)
        noise = streams.noise(chosen, self.model.noise_shape)  # (N, *noise shape)
        return self.generate(noise, labels, chosen, prompts, **controls)

    def generate(
        self,
        noise: Tensor,
        labels: Labels = None,
        seeds: Sequence[int] | None = None,
        prompts: Sequence[str] | None = None,
        **controls: Any,
    ) -> np.ndarray:
        """Draw one picture from each given noise, (N, *noise_shape); else like `sample`."""
        chosen = list(seeds) if seeds is not None else list(range(len(noise)))
        condition, settings = self._asked(chosen, labels, prompts), self._controls(controls)
        finished = []
        with torch.inference_mode():
            for rows, kept in equal_batches(len(chosen)):
                *_, last = self._generate(noise, condition, settings, chosen, rows)
                finished.append(pictures.to_uint8(last.image()[:kept]))
        return np.concatenate(finished)

    def frames(
        self,
        seeds: Iterable[int],
        labels: Labels = None,
        prompts: Sequence[str] | None = None,
        **controls: Any,
    ) -> Iterator[GenerationStep]:
        """Watch one batch of pictures come into being."""
        chosen = self._seeds(seeds)
        condition, settings = self._asked(chosen, labels, prompts), self._controls(controls)
        noise = streams.noise(chosen, self.model.noise_shape)
        with torch.inference_mode():
            yield from self._generate(noise, condition, settings, chosen, range(len(chosen)))

    def invert(
        self,
        pixels: np.ndarray,
        labels: Labels = None,
        seeds: Sequence[int] | None = None,
        **controls: Any,
    ) -> Tensor:
        """The noise whose picture is near each of `pixels`, (N, H, W, C) uint8: (N, *noise_shape).

        seeds: where each search begins, where the model searches; None: at the pictures' numbers.
        """
        self._fit(pixels, "inverts")
        chosen = list(range(len(pixels)))
        begun = chosen if seeds is None else list(seeds)
        condition, settings = self._asked(chosen, labels, None), self._controls(controls)
        found = []
        for start in range(0, len(pixels), SAMPLING_BATCH):
            rows = chosen[start : start + SAMPLING_BATCH]
            images = pictures.to_float(pixels[rows]).to(self.device)
            with torch.no_grad():
                asked = condition.cut(rows).to(self.device)
                noise = self.model.invert(images, asked, settings, [begun[k] for k in rows])
            found.append(noise.cpu())
        return torch.cat(found)

    def styles(
        self,
        noise: Tensor,
        labels: Labels = None,
        seeds: Sequence[int] | None = None,
        **controls: Any,
    ) -> Tensor:
        """The styles of each noise, (N, *noise_shape) -> (N, layers, width); labels like `sample`.

        Raises ValueError for a model without styles.
        """
        model = self._styled()
        chosen = list(seeds) if seeds is not None else list(range(len(noise)))
        condition, settings = self._asked(chosen, labels, None), self._controls(controls)
        found = []
        with torch.inference_mode():
            for rows, kept in equal_batches(len(chosen)):
                asked = condition.cut(rows).to(self.device)
                found.append(model.styles(noise[rows].to(self.device), asked, settings)[:kept].cpu())
        return torch.cat(found).clone()  # outside inference mode: it may be differentiated

    def synthesize(self, styles: Tensor, seeds: Sequence[int] | None = None, **controls: Any) -> np.ndarray:
        """The pictures of styles, (N, layers, width) -> (N, H, W, C) uint8. ValueError as `styles`."""
        model, settings = self._styled(), self._controls(controls)
        chosen = list(seeds) if seeds is not None else list(range(len(styles)))
        finished = []
        with torch.inference_mode():
            for rows, kept in equal_batches(len(chosen)):
                told = [chosen[row] for row in rows]
                painted = model.synthesize(styles[rows].to(self.device), told, settings)
                finished.append(pictures.to_uint8(painted[:kept]))
        return np.concatenate(finished)

    def _styled(self) -> StyleBased:
        if isinstance(self.model, StyleBased):
            return self.model
        able = [name for name in model_names() if issubclass(load_model_class(name), StyleBased)]
        raise UsageError(
            f"{self.model.title} has no style space between noise and picture; models that have one: "
            f"{', '.join(able) or 'none yet'}"
        )

    def bits_per_dim(
        self,
        pixels: np.ndarray,
        labels: Labels = None,
        bound: str | None = None,
        draws: int = 16,
        seeds: Iterable[int] | None = None,
        box: Box | None = None,
    ) -> np.ndarray:
        """How many bits per dimension the model needs at most for each picture: lower is more likely.

        pixels: (N, H, W, C) uint8. labels: of the pictures, for a model that reads them; None: it is not
        told. bound: one of the model's, None its first. draws: samples (ELBO, IWAE) or times (VLB) a
        picture. seeds: one a picture, None for 0, 1, ... box: the part (top, left, bottom, right) of
        pixels that count: those of a padded picture that were not added, `Dataset.content_box`. Returns
        (N,) float64. Raises ValueError for an implicit model and for unfit arguments.
        """
        self._fit(pixels, "is asked about")
        chosen = self._seeds(range(len(pixels)) if seeds is None else seeds)
        if len(chosen) != len(pixels):
            raise ValueError(f"give one seed a picture: {len(chosen)} seeds for {len(pixels)} pictures")
        if draws < 1:
            raise ValueError(f"a bound needs at least 1 draw, got {draws}")
        name, condition = self._bound(bound), Condition()
        if labels is not None:
            condition = self._asked(chosen, labels, None)
        found = []
        with torch.inference_mode():
            for rows, kept in equal_batches(len(chosen)):
                query = LikelihoodQuery(
                    torch.from_numpy(pixels[rows]).to(self.device),
                    condition.cut(rows).to(self.device),
                    name,
                    draws,
                    [chosen[row] for row in rows],
                    box,
                )
                found.append(self.model.bits_per_dim(query)[:kept].cpu().numpy())
        return np.concatenate(found)

    def _bound(self, asked: str | None) -> str:
        there_are = getattr(self.model, "likelihood_bounds", ())
        if not there_are:
            raise ValueError(
                f"{self.model.title} is implicit: it can draw but not say how likely an image is"
            )
        if asked is not None and asked not in there_are:
            raise ValueError(f"{self.model.title} has no bound {asked!r}: there are {', '.join(there_are)}")
        return asked or there_are[0]

    def _fit(self, pixels: np.ndarray, what: str) -> None:
        expected = (self.spec.size, self.spec.size, self.spec.channels)
        if pixels.ndim != 4 or pixels.shape[1:] != expected or len(pixels) == 0 or pixels.dtype != np.uint8:
            raise ValueError(
                f"this model {what} pictures (N, {expected}) uint8, got {pixels.shape} {pixels.dtype}"
            )

    def _generate(
        self, noise: Tensor, condition: Condition, settings: Any, seeds: list[int], rows: Sequence[int]
    ) -> Iterator[GenerationStep]:
        batch = noise[list(rows)].to(self.device)  # (B, *noise shape)
        asked = condition.cut(rows).to(self.device)
        return self.model.generate(batch, asked, settings, [seeds[row] for row in rows])

    def _seeds(self, seeds: Iterable[int]) -> list[int]:
        chosen = [int(seed) for seed in seeds]
        if not chosen:
            raise ValueError("at least one seed is needed")
        if min(chosen) < 0 or max(chosen) >= 2**63:
            raise ValueError(f"seeds must lie in 0..2^63-1, got {min(chosen)}..{max(chosen)}")
        return chosen

    def _controls(self, values: Mapping[str, Any]) -> Any:
        return read_settings(self.model.Controls, values, f"{self.model.title}'s controls")

    def _asked(self, seeds: Sequence[int], labels: Any, prompts: Sequence[str] | None) -> Condition:
        if prompts is not None:
            raise ValueError(f"{self.model.title} does not read prompts")
        if labels is None:
            return Condition(labels=self.labels_for(seeds))
        if not self.model.conditional:
            why = "was trained without labels" if self.spec.classes == 0 else "does not read labels"
            raise ValueError(f"{self.model.title} {why}: leave them out")
        asked = torch.as_tensor(np.asarray(labels_as_numbers(labels, self.class_names))).long().reshape(-1)
        if len(asked) not in (1, len(seeds)):
            raise ValueError(f"give one label, or one a seed: {len(asked)} labels for {len(seeds)} seeds")
        if asked.min() < 0 or asked.max() >= self.spec.classes:
            raise ValueError(f"labels must lie in 0..{self.spec.classes - 1}, got {asked.tolist()[:8]}")
        return Condition(labels=asked.expand(len(seeds)) if len(asked) == 1 else asked)


def equal_batches(count: int) -> Iterator[tuple[list[int], int]]:
    """Row numbers of each batch and how many of them count: the last of several is filled up."""
    for start in range(0, count, SAMPLING_BATCH):
        rows = list(range(start, min(start + SAMPLING_BATCH, count)))
        kept = len(rows)
        if start:
            rows += [rows[-1]] * (SAMPLING_BATCH - kept)
        yield rows, kept


def load(
    path: Path | str,
    *,
    device: str = "auto",
    weights: str = "auto",
    model_file: str | None = None,
    step: int | None = None,
) -> Pipeline:
    """Open a run for drawing: its newest whole state, or the snapshot of a step.

    weights: "raw", "ema" (their moving average) or "auto": those that scored better on held-out images when
    the training ended or stopped, the raw ones where that was not measured. step: one of `run.snapshots()`.
    Raises RunError when there is nothing to open, UsageError for weights that were not kept.
    """
    asked = known_weights(weights)
    run = open_run(path)
    built = build(run.card, model_file)
    try:
        if step is None:
            saved = run.load_checkpoint(only=("weights",) if asked == "raw" else ("weights", "ema"))
            files, comparison = saved.tensors, saved.meta.comparison
            base, step, where = files["weights"], saved.meta.step, f"{path}"
            kept: dict[Which, Any] = {"raw": {}, "ema": files.get("ema")}
        else:
            snapshot = run.load_snapshot(step)
            files, comparison = snapshot.tensors, snapshot.meta.comparison
            base, where = built.state_dict(), f"{path}'s snapshot of step {step}"  # the rest draws nothing
            kept = {"raw": files.get("raw"), "ema": files.get("ema")}
        which = choose_weights(asked, comparison, [name for name in kept if kept[name] is not None], where)
        part = kept[which] or named_under(built, built.ema_modules)
        if missing := set(named_under(built, built.ema_modules)) ^ set(part):
            raise KeyError(", ".join(sorted(missing)[:3]))
        built.load_state_dict({**base, **(kept[which] or {})})
    except (RuntimeError, KeyError) as error:
        raise weights_mismatch(f"the saved weights of {path}", error) from error
    return Pipeline(built.to(choose(device)), run, run.card.data.class_counts, which, step, asked)
