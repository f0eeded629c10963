"""From a trained run to images: `load` opens a run, `Pipeline` samples, inverts and measures likelihoods."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from triptych.core import images as pixel_values
from triptych.core import rng
from triptych.core.class_names import labels_as_numbers
from triptych.core.config import read_settings
from triptych.core.device import choose
from triptych.core.errors import UsageError
from triptych.core.style_space import StyleBased
from triptych.core.types import Box, Condition, GenerationStep, LikelihoodQuery
from triptych.core.weights import named_under
from triptych.models.registry import AnyModel, build, load_model_class, model_names, weights_mismatch
from triptych.runs.run import Run, open_run
from triptych.runs.weights import RequestedWeights, Which
from triptych.runs.weights import checked as known_weights
from triptych.runs.weights import choose as choose_weights

SAMPLING_BATCH = 64  # images per batch; only a first, single batch may be smaller: equal batches, equal bits
Labels = str | Sequence[int] | Sequence[str] | Tensor | np.ndarray | None  # class numbers or names


class Pipeline:
    """A trained model with everything that sampling needs. Images are NumPy arrays, (N, H, W, C) uint8.

    An image is a function of (weights, seed, label, controls), not of the batch that it is sampled in.

    Args:
        model: The model; it is put into evaluation mode, and its parameters get `requires_grad` False.
        run: The run that the weights are from; None for a model that was made in memory.
        class_counts: Training images per class: the distribution that labels are drawn from. None: uniform.
        weights: Which weights the model has: "ema" or "raw".
        step: Training steps after which the weights were saved; None: unknown.
        requested_weights: How the weights were chosen: "auto", "raw" or "ema"; None: unknown.
    """

    def __init__(
        self,
        model: AnyModel,
        run: Run | None = None,
        class_counts: Sequence[int] | None = None,
        weights: str = "ema",
        step: int | None = None,
        requested_weights: RequestedWeights | None = None,
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self.run, self.spec, self.step = run, model.spec, step
        self.weights, self.requested_weights = weights, requested_weights
        counts = torch.tensor(class_counts or [1] * max(self.spec.classes, 1), dtype=torch.float64)
        self._cumulative_class_distribution = torch.cumsum(counts / counts.sum(), dim=0)

    @property
    def device(self) -> torch.device:
        """The device that the weights are on."""
        return next(self.model.parameters()).device

    @property
    def class_names(self) -> list[str]:
        """The names of the classes in the training data; their numbers where there are no names."""
        named = self.run.card.data.class_names if self.run else None
        return list(named or map(str, range(self.spec.classes)))

    def labels_for(self, seeds: Iterable[int]) -> Tensor | None:
        """Draw labels from the class distribution of the training data, each as a function of its seed.

        Args:
            seeds: N numbers.

        Returns:
            (N,) int64; None for an unconditional model.
        """
        if not self.model.conditional:
            return None
        draws = [torch.rand(1, generator=rng.generator(int(s), "label")).double() for s in seeds]
        labels = torch.searchsorted(self._cumulative_class_distribution, torch.cat(draws))
        return labels.clamp(max=self.spec.classes - 1)

    def sample(
        self,
        seeds: Iterable[int],
        labels: Labels = None,
        prompts: Sequence[str] | None = None,
        **controls: Any,
    ) -> np.ndarray:
        """Sample one image per seed. Seeds, labels or controls out of range raise ValueError.

        Args:
            seeds: N numbers in 0..2^63 - 1.
            labels: Class numbers or names: one for all images, or one per seed. None: drawn by `labels_for`.
            prompts: One per seed, for models that read text.
            **controls: Fields of the model's Controls.

        Returns:
            (N, H, W, C) uint8.
        """
        checked = _checked_seeds(seeds)
        return self.generate(rng.noise(checked, self.model.noise_shape), labels, checked, prompts, **controls)

    def generate(
        self,
        noise: Tensor,
        labels: Labels = None,
        seeds: Sequence[int] | None = None,
        prompts: Sequence[str] | None = None,
        **controls: Any,
    ) -> np.ndarray:
        """Turn given noise into images.

        Args:
            noise: (N, *noise_shape), standard normal where the model is to do what it was trained for.
            labels: As `sample` takes them.
            seeds: N numbers: the source of labels and of a sampler's further noise; None: 0, 1, ...
            prompts: As `sample` takes them.
            **controls: Fields of the model's Controls.

        Returns:
            (N, H, W, C) uint8.
        """
        all_seeds = _seeds_or_numbers(seeds, len(noise))
        condition, settings = self._condition(all_seeds, labels, prompts), self._controls(controls)
        images = []
        with torch.inference_mode():
            for rows, kept in equal_batches(len(all_seeds)):
                *_, last = self._generate(noise, condition, settings, all_seeds, rows)
                images.append(pixel_values.to_uint8(last.image()[:kept]))
        return np.concatenate(images)

    def frames(
        self,
        seeds: Iterable[int],
        labels: Labels = None,
        prompts: Sequence[str] | None = None,
        **controls: Any,
    ) -> Iterator[GenerationStep]:
        """Sample one batch step by step.

        Args:
            seeds: One per image; all images are in one batch.
            labels: As `sample` takes them.
            prompts: As `sample` takes them.
            **controls: Fields of the model's Controls.

        Yields:
            The sampler's steps: one for a GAN or a VAE.
        """
        checked = _checked_seeds(seeds)
        condition, settings = self._condition(checked, labels, prompts), self._controls(controls)
        noise = rng.noise(checked, self.model.noise_shape)
        with torch.inference_mode():
            yield from self._generate(noise, condition, settings, checked, range(len(checked)))

    def invert(
        self,
        pixels: np.ndarray,
        labels: Labels = None,
        seeds: Sequence[int] | None = None,
        **controls: Any,
    ) -> Tensor:
        """Find noise from which the model makes images near the given ones.

        Args:
            pixels: (N, H, W, C) uint8.
            labels: Of the images, as `sample` takes them.
            seeds: N numbers: where a model that searches starts; None: 0, 1, ...
            **controls: Fields of the model's Controls.

        Returns:
            (N, *noise_shape).
        """
        self._check_pixels(pixels, "inverts")
        numbers = list(range(len(pixels)))
        starts = _seeds_or_numbers(seeds, len(pixels))
        condition, settings = self._condition(numbers, labels, None), self._controls(controls)
        noises = []
        for start in range(0, len(pixels), SAMPLING_BATCH):
            rows = numbers[start : start + SAMPLING_BATCH]
            images = pixel_values.to_float(pixels[rows]).to(self.device)
            with torch.no_grad():
                guide = condition.cut(rows).to(self.device)
                noise = self.model.invert(images, guide, settings, [starts[k] for k in rows])
            noises.append(noise.cpu())
        return torch.cat(noises)

    def styles(
        self,
        noise: Tensor,
        labels: Labels = None,
        seeds: Sequence[int] | None = None,
        **controls: Any,
    ) -> Tensor:
        """Map noise to styles. A model without a style space raises UsageError.

        Args:
            noise: (N, *noise_shape).
            labels: As `sample` takes them.
            seeds: N numbers that labels are drawn by; None: 0, 1, ...
            **controls: Fields of the model's Controls.

        Returns:
            (N, layers, style width).
        """
        model = self._style_based()
        all_seeds = _seeds_or_numbers(seeds, len(noise))
        condition, settings = self._condition(all_seeds, labels, None), self._controls(controls)
        styles = []
        with torch.inference_mode():
            for rows, kept in equal_batches(len(all_seeds)):
                batch, guide = noise[rows].to(self.device), condition.cut(rows).to(self.device)
                styles.append(model.styles(batch, guide, settings)[:kept].cpu())
        return torch.cat(styles).clone()  # outside inference mode: it may be differentiated

    def synthesize(self, styles: Tensor, seeds: Sequence[int] | None = None, **controls: Any) -> np.ndarray:
        """Turn styles into images. A model without a style space raises UsageError.

        Args:
            styles: (N, layers, style width).
            seeds: N numbers: the source of random detail; None: 0, 1, ...
            **controls: Fields of the model's Controls.

        Returns:
            (N, H, W, C) uint8.
        """
        model, settings = self._style_based(), self._controls(controls)
        all_seeds = _seeds_or_numbers(seeds, len(styles))
        images = []
        with torch.inference_mode():
            for rows, kept in equal_batches(len(all_seeds)):
                batch, batch_seeds = styles[rows].to(self.device), [all_seeds[row] for row in rows]
                synthesized = model.synthesize(batch, batch_seeds, settings)
                images.append(pixel_values.to_uint8(synthesized[:kept]))
        return np.concatenate(images)

    def bits_per_dim(
        self,
        pixels: np.ndarray,
        labels: Labels = None,
        bound: str | None = None,
        draws: int = 16,
        seeds: Iterable[int] | None = None,
        box: Box | None = None,
    ) -> np.ndarray:
        """Bound the negative log-likelihood of images, in bits per dimension: lower is more likely.

        Args:
            pixels: (N, H, W, C) uint8.
            labels: Of the images, for a conditional model; None: the bound holds without a label.
            bound: One of the model's `likelihood_bounds`; None: the first.
            draws: Samples (ELBO, IWAE) or times (VLB) per image, at least 1.
            seeds: N numbers: an image's draws depend on its seed; None: 0, 1, ...
            box: The pixels that count, (top, left, bottom, right): those of a padded image that were not
                added, `Dataset.content_box`. None: all.

        Returns:
            (N,) float64.

        Raises:
            ValueError: For an implicit model, an unknown bound, or arguments that do not fit the images.
        """
        self._check_pixels(pixels, "bounds the likelihood of")
        checked = _checked_seeds(range(len(pixels)) if seeds is None else seeds)
        if len(checked) != len(pixels):
            raise ValueError(f"give one seed per image: got {len(checked)} seeds for {len(pixels)} images")
        if draws < 1:
            raise ValueError(f"a bound needs at least 1 draw, got {draws}")
        name = self._bound(bound)
        condition = Condition() if labels is None else self._condition(checked, labels, None)
        bounds = []
        with torch.inference_mode():
            for rows, kept in equal_batches(len(checked)):
                query = LikelihoodQuery(
                    torch.from_numpy(pixels[rows]).to(self.device),
                    condition.cut(rows).to(self.device),
                    name, draws, [checked[row] for row in rows], box,
                )  # fmt: skip
                bounds.append(self.model.bits_per_dim(query)[:kept].cpu().numpy())
        return np.concatenate(bounds)

    def _style_based(self) -> StyleBased:
        if isinstance(self.model, StyleBased):
            return self.model
        able = [name for name in model_names() if issubclass(load_model_class(name), StyleBased)]
        raise UsageError(
            f"{self.model.title} has no style space between noise and image; models that have one: "
            f"{', '.join(able) or 'none yet'}"
        )

    def _bound(self, name: str | None) -> str:
        known = self.model.likelihood_bounds
        if not known:
            raise ValueError(
                f"{self.model.title} is implicit: it can draw but not say how likely an image is"
            )
        if name is not None and name not in known:
            raise ValueError(f"{self.model.title} has no bound {name!r}: there are {', '.join(known)}")
        return name or known[0]

    def _check_pixels(self, pixels: np.ndarray, verb: str) -> None:
        expected = (self.spec.size, self.spec.size, self.spec.channels)
        if pixels.ndim != 4 or pixels.shape[1:] != expected or len(pixels) == 0 or pixels.dtype != np.uint8:
            raise ValueError(
                f"this model {verb} images (N, {expected}) uint8, got {pixels.shape} {pixels.dtype}"
            )

    def _generate(
        self, noise: Tensor, condition: Condition, settings: Any, seeds: list[int], rows: Sequence[int]
    ) -> Iterator[GenerationStep]:
        batch = noise[list(rows)].to(self.device)  # (B, *noise shape)
        guide = condition.cut(rows).to(self.device)
        return self.model.generate(batch, guide, settings, [seeds[row] for row in rows])

    def _controls(self, values: Mapping[str, Any]) -> Any:
        return read_settings(self.model.Controls, values, f"{self.model.title}'s controls")

    def _condition(self, seeds: Sequence[int], labels: Any, prompts: Sequence[str] | None) -> Condition:
        if prompts is not None:
            raise ValueError(f"{self.model.title} does not read prompts: leave them out")
        if labels is None:
            return Condition(labels=self.labels_for(seeds))
        if not self.model.conditional:
            why = "was trained without labels" if self.spec.classes == 0 else "does not read labels"
            raise ValueError(f"{self.model.title} {why}: leave them out")
        numbers = torch.as_tensor(np.asarray(labels_as_numbers(labels, self.class_names))).long().reshape(-1)
        if len(numbers) not in (1, len(seeds)):
            raise ValueError(f"give one label, or one per seed: {len(numbers)} labels for {len(seeds)} seeds")
        if numbers.min() < 0 or numbers.max() >= self.spec.classes:
            raise ValueError(f"labels must lie in 0..{self.spec.classes - 1}, got {numbers.tolist()[:8]}")
        return Condition(labels=numbers.expand(len(seeds)) if len(numbers) == 1 else numbers)


def _checked_seeds(seeds: Iterable[int]) -> list[int]:
    checked = [int(seed) for seed in seeds]
    if not checked:
        raise ValueError("at least one seed is needed, got none")
    if min(checked) < 0 or max(checked) >= 2**63:
        raise ValueError(f"seeds must lie in 0..2^63-1, got {min(checked)}..{max(checked)}")
    return checked


def _seeds_or_numbers(seeds: Sequence[int] | None, count: int) -> list[int]:
    return list(range(count)) if seeds is None else list(seeds)


def equal_batches(count: int) -> Iterator[tuple[list[int], int]]:
    """Divide images into batches of equal size, since bits may depend on the size of a batch.

    Args:
        count: Number of images.

    Yields:
        The row numbers of a batch, and how many of them count: the last of several batches is padded with
        its last row.
    """
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
    """Open a run for sampling. A run without an intact checkpoint raises RunError.

    Args:
        path: The run directory.
        device: "auto", or a device by its name in PyTorch.
        weights: "raw", "ema", or "auto": those that scored better on held-out images when the training ended
            or stopped, and the raw ones where that was not measured.
        model_file: The path of the model's .py file, if it is one of the user's own.
        step: The step of a snapshot, one of `Run.snapshots()`; None: the newest intact checkpoint.

    Returns:
        The model with these weights on the device.
    """
    requested = known_weights(weights)
    run = open_run(path)
    model = build(run.card, model_file)
    which, step = _load_weights(model, run, requested, step, path)
    return Pipeline(model.to(choose(device)), run, run.card.data.class_counts, which, step, requested)


def _load_weights(
    model: AnyModel, run: Run, requested: RequestedWeights, step: int | None, path: Path | str
) -> tuple[Which, int | None]:
    """Load the requested weights into the model; returns which they are, and the step they were saved at."""
    try:
        if step is None:
            saved = run.load_checkpoint(only=("weights",) if requested == "raw" else ("weights", "ema"))
            files, comparison = saved.tensors, saved.meta.comparison
            base, step, where = files["weights"], saved.meta.step, f"{path}"
            kept: dict[Which, Any] = {"raw": {}, "ema": files.get("ema")}
        else:
            snapshot = run.load_snapshot(step)
            files, comparison = snapshot.tensors, snapshot.meta.comparison
            base, where = model.state_dict(), f"{path}'s snapshot of step {step}"  # sampling uses no others
            kept = {"raw": files.get("raw"), "ema": files.get("ema")}
        which = choose_weights(requested, comparison, [n for n in kept if kept[n] is not None], where)
        chosen = model.complete(kept[which]) if kept[which] else {}
        if chosen and (differing := set(named_under(model, model.ema_modules)) ^ set(chosen)):
            raise KeyError(", ".join(sorted(differing)[:3]))
        model.load_state_dict({**base, **chosen})
    except (RuntimeError, KeyError) as error:
        raise weights_mismatch(f"the saved weights of {path}", error) from error
    return which, step
