"""`triptych sample`: draw images from a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from triptych.cli._flags import (
    JsonFlag,
    ModelFileFlag,
    WeightsFlag,
    first_word,
    numbers,
    parse_with_settings,
    value_in,
    weights_in,
)
from triptych.cli._registry import Result, say
from triptych.cli._steer_common import class_numbers_of


@dataclass(kw_only=True)
class SampleFlags(WeightsFlag, ModelFileFlag, JsonFlag):
    """Sample images from a run: a grid, an array or a folder."""

    seeds: str = "0-63"
    """One image for each: 0-63 or 1,5,9."""
    labels: str | None = None
    """Classes by name or number: bag, or 0-9, repeated over the seeds; left out: drawn as in the data."""
    out: Path | None = None
    """A grid with captions (.png, .jpg, .webp, .gif; left out: grid.png), the images as an array (.npy),
    arrays of images, seeds and labels (.npz), or a folder of PNGs."""
    film: Literal["noisy", "predicted"] | None = None
    """Animate the sampling of a diffusion model (--out film.gif, .webp or .npz): the noisy images x_t, or
    the images x_0 predicted at each step."""


def sample(words: list[str]) -> Result:
    """Sample images. Takes the words after "sample"; the run decides which controls there are."""
    path = first_word(words, "the run", "triptych sample RUN [--seeds 0-63] [--out grid.png]")
    if path is None:
        print("usage: triptych sample RUN [--seeds 0-63] [--labels bag] [--out grid.png] [controls]")
        print("triptych sample RUN --help lists all flags, with the controls of that run's model")
        return {}
    from triptych.inference.film import film_of
    from triptych.inference.pipeline import load
    from triptych.viz.gallery import check_images_path, write_images, write_sampling_animation

    pipeline = load(path, model_file=value_in(words, "--model-file"), weights=weights_in(words))
    flags, controls = parse_with_settings(
        words[1:],
        SampleFlags,
        [pipeline.model.Controls],
        f"sample {path}",
        about=f"Sample images from {pipeline.model.title}.",
    )
    out = flags.out or Path("grid.png" if flags.film is None else "film.gif")
    check_images_path(out, film=flags.film is not None)  # refused before the work
    seeds = numbers(flags.seeds)
    cycle = class_numbers_of(flags.labels, pipeline) if flags.labels is not None else None
    labels = [cycle[k % len(cycle)] for k in range(len(seeds))] if cycle else None
    sampled = labels if labels is not None else pipeline.labels_for(seeds)
    classes = None if sampled is None else [int(label) for label in sampled]
    names = None if classes is None else [pipeline.class_names[label] for label in classes]
    if flags.film is None:
        write_images(out, pipeline.sample(seeds, labels, **controls), seeds, names, classes)
    else:
        write_sampling_animation(
            out, film_of(pipeline, seeds, labels, flags.film, **controls), seeds, names, classes
        )
    if pipeline.model.reconstructs:
        say(
            f"{pipeline.model.title} has no prior: these are its decoder's images of noise with the mean and "
            "standard deviation of the latents, but without their structure, so they look like nothing it "
            "was trained on. A model that learns the structure: "
            f"triptych train latent_diffusion --first-stage {path}"
        )
    print(out)
    return {"out": str(out), "images": len(seeds), "weights": pipeline.weights}
