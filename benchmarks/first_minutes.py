"""What a newcomer gets in the first minutes: every model's default beside a plain textbook loop.

The same minutes of training on this machine for all, one feature extractor: Triptych's models as `train`
starts them, DCGAN as published, a textbook DCGAN (a plain float32 loop) and pythae's default VAE. Needs the
data set's files (see the README's sources) and, for pythae's row, `pip install -e .[bench]`; a contestant
that cannot run here is written "not run". Writes a JSON file, a table and grids of samples to `--out`.

    python benchmarks/first_minutes.py --data mnist --minutes 5 --samples 5000
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import triptych
from triptych.core import device, images
from triptych.data.dataset import Dataset
from triptych.data.load import load
from triptych.evaluation.classifier import extractor_for
from triptych.evaluation.scoring import class_view, score_pixels
from triptych.metrics.inputs import EvaluationInputs
from triptych.models.registry import model_names
from triptych.viz import grids

Sampler = Callable[[int], np.ndarray]  # how many -> (N, H, W, C) uint8
Trained = tuple[Sampler, dict[str, Any]]  # and what is known of the training

OURS = {
    "Triptych DCGAN, textbook": ["dcgan", "--preset", "paper"],
    **{f"Triptych {name}, its default": [name] for name in model_names()},
}


def ours(arguments: list[str], data: str, minutes: float, runs: Path) -> Trained:
    command = [
        sys.executable,
        "-m",
        "triptych",
        "train",
        *arguments,
        "--data",
        data,
        "--minutes",
        str(minutes),
    ]
    done = subprocess.run(
        [*command, "--runs", str(runs), "--json"], stdout=subprocess.PIPE, text=True, check=True
    )
    model = triptych.load(json.loads(done.stdout.splitlines()[-1])["run"])
    assert model.run is not None
    meta, cost = model.run.checkpoint_meta(), model.run.card.cost
    seeds = 10**9  # far from those of the training's own grids
    return lambda n: model.sample(range(seeds, seeds + n)), {
        "images": meta.images,
        "train_seconds": meta.seconds,
        "parameters": cost.parameters,
        "precision": model.run.card.plan.precision,
        "class_conditional": model.model.conditional,
        "weights": model.weights,
    }


def batches(data: Dataset, size: int) -> Any:
    rng = np.random.default_rng(0)
    while True:
        for rows in np.array_split(rng.permutation(len(data.train)), len(data.train) // size):
            yield images.to_float(data.train.pixels[np.sort(rows)])  # (B, 1, 32, 32) in [-1, 1]


def textbook_dcgan(data: Dataset, minutes: float) -> Trained:
    """The networks and settings of the DCGAN tutorials at 32 px, as they are usually typed."""
    torch.manual_seed(0)

    def up(wide: int, narrow: int, stride: int, padding: int) -> list[nn.Module]:
        convolution = nn.ConvTranspose2d(wide, narrow, 4, stride, padding, bias=False)
        return [convolution, nn.BatchNorm2d(narrow), nn.ReLU(True)]

    def down(narrow: int, wide: int) -> list[nn.Module]:
        return [nn.Conv2d(narrow, wide, 4, 2, 1, bias=False), nn.BatchNorm2d(wide), nn.LeakyReLU(0.2, True)]

    generator = nn.Sequential(
        *up(100, 256, 1, 0), *up(256, 128, 2, 1), *up(128, 64, 2, 1),
        nn.ConvTranspose2d(64, 1, 4, 2, 1, bias=False), nn.Tanh(),
    )  # fmt: skip
    discriminator = nn.Sequential(
        nn.Conv2d(1, 64, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, True), *down(64, 128), *down(128, 256),
        nn.Conv2d(256, 1, 4, 1, 0, bias=False), nn.Sigmoid(), nn.Flatten(0),
    )  # fmt: skip
    for module in (*generator.modules(), *discriminator.modules()):
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
    adams = [
        torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999)) for net in (discriminator, generator)
    ]
    entropy = nn.BCELoss()
    images_seen, began = 0, time.monotonic()
    for real in batches(data, 128):
        if time.monotonic() - began > 60 * minutes:
            break
        one, zero = torch.ones(len(real)), torch.zeros(len(real))
        fake = generator(torch.randn(len(real), 100, 1, 1))
        discriminator.zero_grad()
        (entropy(discriminator(real), one) + entropy(discriminator(fake.detach()), zero)).backward()
        adams[0].step()
        generator.zero_grad()
        entropy(discriminator(fake), one).backward()
        adams[1].step()
        images_seen += len(real)
    generator.eval()

    def sample(n: int) -> np.ndarray:
        torch.manual_seed(1)
        with torch.inference_mode():
            drawn = [generator(torch.randn(min(100, n - k), 100, 1, 1)) for k in range(0, n, 100)]
        return images.to_uint8(torch.cat(drawn))

    return sample, {
        "images": images_seen,
        "train_seconds": time.monotonic() - began,
        "parameters": sum(p.numel() for net in (generator, discriminator) for p in net.parameters()),
        "precision": "fp32",
        "class_conditional": False,
    }


def pythae_vae(data: Dataset, minutes: float) -> Trained:
    """Its default networks, likelihood, optimizer and batch, through its own trainer and sampler."""
    from pythae.models import VAE, VAEConfig
    from pythae.samplers import NormalSampler
    from pythae.trainers import BaseTrainer, BaseTrainerConfig
    from pythae.trainers.training_callbacks import TrainingCallback

    class TimeUpError(Exception):
        pass

    class Clock(TrainingCallback):
        steps, began = 0, time.monotonic()

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.began = time.monotonic()

        def on_train_step_end(self, *_: Any, **__: Any) -> None:
            self.steps += 1
            if time.monotonic() - self.began > 60 * minutes:
                raise TimeUpError

    torch.manual_seed(0)
    pixels = torch.from_numpy(np.asarray(data.train.pixels)).permute(0, 3, 1, 2).float() / 255  # [0, 1]
    model = VAE(VAEConfig(input_dim=tuple(pixels.shape[1:]), latent_dim=16))
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        settings = BaseTrainerConfig(output_dir=folder, num_epochs=10**4, steps_saving=None)
        from pythae.data.datasets import BaseDataset

        examples = BaseDataset(pixels, torch.from_numpy(np.asarray(data.train.labels)))
        trainer = BaseTrainer(model, examples, training_config=settings, callbacks=[clock])
        with contextlib.suppress(TimeUpError):
            trainer.train()
    seconds = time.monotonic() - clock.began
    model.eval()

    def sample(n: int) -> np.ndarray:
        torch.manual_seed(1)
        drawn = NormalSampler(model).sample(num_samples=n, batch_size=100, return_gen=True)
        return images.to_uint8(drawn.reshape(n, *pixels.shape[1:]) * 2 - 1)

    return sample, {
        "images": clock.steps * settings.per_device_train_batch_size,
        "train_seconds": seconds,
        "parameters": sum(p.numel() for p in model.parameters()),
        "precision": "fp32",
        "class_conditional": False,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--only", default="", help="run the contestants whose name holds this")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    flags = parser.parse_args()
    data = load(flags.data)
    extractor = extractor_for(data)
    runs = Path(tempfile.mkdtemp(prefix="first-minutes-"))
    contestants: dict[str, Callable[[], Trained]] = {
        "textbook DCGAN, plain loop": lambda: textbook_dcgan(data, flags.minutes),
        "pythae VAE, its defaults": lambda: pythae_vae(data, flags.minutes),
        **{
            name: (lambda arguments=arguments: ours(arguments, flags.data, flags.minutes, runs))
            for name, arguments in OURS.items()
        },
    }
    rows = []
    for name, train in contestants.items():
        if flags.only.lower() not in name.lower():
            continue
        print(f"== {name}", flush=True)
        try:
            sample, facts = train()
        except ImportError as missing:
            rows.append({"name": name, "not_run": str(missing)})
            continue
        began = time.monotonic()
        drawn = sample(flags.samples)
        facts["seconds_for_1000"] = (time.monotonic() - began) / flags.samples * 1000
        row = {"name": name, **facts, **evaluated(data, drawn, extractor)}
        grid = grids.grid(drawn[:64], 8, scale=2)
        grids.write_png(runs / f"{name.replace(',', '').replace(' ', '-')}.png", grid)
        print(json.dumps(row), flush=True)
        rows.append(row)
    write(rows, flags, extractor.name, data)
    print(f"grids of samples: {runs}")


def evaluated(data: Dataset, drawn: np.ndarray, extractor: Any) -> dict[str, Any]:
    test = np.asarray(data.test.pixels)
    train = np.asarray(data.train.pixels[: len(drawn)])
    scores = {
        score.card.metric: {"value": score.value, "low": score.low, "high": score.high, "floor": score.floor}
        for score in score_pixels(test, drawn, extractor, train=train)
    }
    view = class_view(EvaluationInputs.of(test, drawn, extractor), None)
    return {"scores": scores, "confident": view.confident, "rarest_class": min(view.shares)}


def write(rows: list[dict[str, Any]], flags: argparse.Namespace, extractor: str, data: Dataset) -> None:
    machine = device.describe(torch.device("cpu"))
    setting = {
        "minutes": flags.minutes, "samples": flags.samples, "real": f"{len(data.test):,} test images",
        "extractor": extractor, "processor": machine, "threads": torch.get_num_threads(),
        "torch": torch.__version__, "triptych": triptych.__version__,
    }  # fmt: skip
    flags.out.mkdir(parents=True, exist_ok=True)
    stem = f"first_minutes-{data.name}"
    (flags.out / f"{stem}.json").write_text(json.dumps({"setting": setting, "rows": rows}, indent=1))
    lines = [
        f"# {data.name}, {flags.minutes:g} minutes of training each",
        "",
        f"{machine}, {setting['threads']} threads, PyTorch {torch.__version__}; {flags.samples:,} samples "
        f"against the {len(data.test):,} test images; FID on the features of {extractor}.",
        "",
        "| model | class-conditional | images seen | FID (floor) | precision | recall | confident "
        "| rarest class | s for 1,000 |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if "not_run" in row:
            lines.append(f"| {row['name']} | *not run*: {row['not_run']} |" + " |" * 7)
            continue
        s = row["scores"]
        lines.append(
            f"| {row['name']} | {'yes' if row['class_conditional'] else 'no'} | {row['images']:,} | "
            f"{s['FID']['value']:.2f} [{s['FID']['low']:.2f}, {s['FID']['high']:.2f}] "
            f"({s['FID']['floor']:.2f}) | {s['precision']['value']:.3f} | {s['recall']['value']:.3f} | "
            f"{row['confident']:.1%} | {row['rarest_class']:.1%} | {row['seconds_for_1000']:.1f} |"
        )
    (flags.out / f"{stem}.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
