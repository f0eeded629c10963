"""`triptych sample`: draw images from a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from triptych.cli._flags import WEIGHTS, first_word, flags_of, given, numbers, parse, weights_in
from triptych.cli._registry import verb
from triptych.cli._steer_common import classes_called

USAGE_OF_DATA = "expected: triptych data inspect SOURCE"


@verb("sample", "draw pictures from a run: a grid, an array or a folder")
def sample(words: list[str]) -> dict[str, Any]:
    """Draw pictures."""
    path = first_word(words, "the run", "triptych sample RUN [--seeds 0-63] [--out grid.png]")
    if path is None:
        print("usage: triptych sample RUN [--seeds 0-63] [--labels bag] [--out grid.png] [controls]")
        print("triptych sample RUN --help lists the controls of a run's family")
        return {}
    from triptych.inference.film import film_of
    from triptych.inference.pipeline import load
    from triptych.viz.gallery import fit_for_pictures, write_film, write_pictures

    own_family = words[words.index("--family") + 1] if "--family" in words[:-1] else None
    model = load(path, model_file=own_family, weights=weights_in(words))
    controls = model.model.Controls
    flags = parse(
        words[1:],
        flags_of(
            controls,
            seeds=(str, "0-63", "One picture each: 0-63 or 1,5,9."),
            labels=(str | None, None, "Classes by name or number: bag, or 0-9 in turn over the seeds."),
            out=(
                Path | None,
                None,
                "A grid with names (.png, .jpg, .webp, .gif; left out: grid.png), the "
                "images' array (.npy), arrays of images, seeds and labels (.npz), or a folder of PNGs.",
            ),
            film=(
                Literal["noisy", "predicted"] | None,
                None,
                "Show how a diffusion model's images come into "
                "being (--out film.gif, .webp or .npz): noisy, or as predicted at each step.",
            ),
            family=(str | None, None, "Path to the family's .py file, if it was one of your own."),
            weights=WEIGHTS,
        ),
        f"sample {path}",
        f"Draw pictures with {model.model.title}.",
    )
    flags.out = flags.out or Path("grid.png" if flags.film is None else "film.gif")
    fit_for_pictures(flags.out, film=flags.film is not None)  # said before the work
    seeds = numbers(flags.seeds)
    cycle = classes_called(flags.labels, model) if flags.labels is not None else None
    labels = [cycle[k % len(cycle)] for k in range(len(seeds))] if cycle else None
    shown = labels if labels is not None else model.labels_for(seeds)
    chosen = None if shown is None else [int(label) for label in shown]
    names = None if chosen is None else [model.class_names[label] for label in chosen]
    if flags.film is None:
        write_pictures(flags.out, model.sample(seeds, labels, **given(flags, controls)), seeds, names, chosen)
    else:
        film = film_of(model, seeds, labels, flags.film, **given(flags, controls))
        write_film(flags.out, film, seeds, names, chosen)
    print(flags.out)
    return {"out": str(flags.out), "pictures": len(seeds), "weights": model.weights}
