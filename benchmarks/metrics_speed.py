"""Scores of 10,000 x 10,000 features 2,048 wide: time and memory beside the usual formulas and packages.

FID against SciPy's matrix square root, precision and recall against the formula of the PRDC code,
KID against torchmetrics'. All run in turns in one process, medians are compared; the peak memory of
each is taken in a process of its own, beyond what it held with the features loaded and a small
problem solved. What is not installed is written "not run" (`pip install -e .[bench]`, and `prdc` for
its row). Writes a JSON file and a table to `results/`.

    python benchmarks/metrics_speed.py --repeats 5
    python benchmarks/metrics_speed.py --large 50000     also the neighbors of so many
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.metadata
import io
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import scipy.linalg
import torch
from sklearn.metrics import pairwise_distances
from threadpoolctl import threadpool_info

import triptych
from triptych.core import device
from triptych.metrics import kid as kernel
from triptych.metrics.fid import fid
from triptych.metrics.kid import kid
from triptych.metrics.prdc import precision_recall

Value = float | tuple[float, float]
Score = Callable[[np.ndarray, np.ndarray], Value]
K = 3


def features(images: int, width: int, seed: int, shift: float) -> np.ndarray:
    """Like those of a network's last layer: no negatives, standard deviations fall off as 1 / sqrt(rank)."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(0).standard_normal((width, width)) / np.arange(1, width + 1) ** 0.5
    values = np.empty((images, width), np.float32)
    for rows in np.array_split(np.arange(images), images // 1000 + 1):
        # the directions with most variance come first, so the mixing's rows are what decays
        values[rows] = np.maximum(rng.standard_normal((len(rows), width)) @ mixing.T * 0.3 + shift, 0)
    return values


def fid_by_square_root(real: np.ndarray, fake: np.ndarray) -> float:
    """As it is usually written: means, np.cov, scipy.linalg.sqrtm of the product."""
    a, b = real.astype(np.float64), fake.astype(np.float64)
    gap, s1, s2 = a.mean(0) - b.mean(0), np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    return float(gap @ gap + np.trace(s1) + np.trace(s2) - 2 * np.trace(scipy.linalg.sqrtm(s1 @ s2).real))


def prdc_formula(real: np.ndarray, fake: np.ndarray) -> tuple[float, float]:
    """Whole matrices of distances by matrix products, radii by argpartition; <= as we count."""

    def radii(x: np.ndarray) -> np.ndarray:
        distances = pairwise_distances(x, x)
        nearest = np.argpartition(distances, K + 1, axis=-1)[:, : K + 1]  # with the image itself
        return np.take_along_axis(distances, nearest, axis=-1).max(-1)

    real_radii, fake_radii, cross = radii(real), radii(fake), pairwise_distances(real, fake)
    precision = (cross <= real_radii[:, None]).any(0).mean()
    return float(precision), float((cross <= fake_radii).any(1).mean())


def prdc_package(real: np.ndarray, fake: np.ndarray) -> tuple[float, float]:
    compute = importlib.import_module("prdc").compute_prdc
    with contextlib.redirect_stdout(io.StringIO()):  # it prints
        result = compute(real, fake, nearest_k=K)
    return float(result["precision"]), float(result["recall"])


def torchmetrics_kid(real: np.ndarray, fake: np.ndarray) -> float:
    module = importlib.import_module("torchmetrics.image.kid")
    torch.manual_seed(0)
    size = min(1000, len(real), len(fake))
    metric = module.KernelInceptionDistance(torch.nn.Identity(), subsets=100, subset_size=size)
    metric.update(torch.from_numpy(real), real=True)
    metric.update(torch.from_numpy(fake), real=False)
    return float(metric.compute()[0])


def kid_blocks(**options: str) -> Score:
    def run(real: np.ndarray, fake: np.ndarray) -> float:
        if not hasattr(kernel, "kid_blocks"):
            raise ImportError("no kid_blocks in this version")
        return float(kernel.kid_blocks(real, fake, min(1000, len(real), len(fake)), 100, **options)[0])

    return run


def kid_in_single_products(real: np.ndarray, fake: np.ndarray) -> float:
    if not hasattr(kernel, "kid_blocks"):
        raise ImportError("no float32 products in this version")
    return kid(real, fake, dot_dtype="float32")


PEERS = ("scipy.linalg.sqrtm", "PRDC formula", "prdc package", "torchmetrics")
CONTESTS: dict[str, dict[str, Score]] = {
    "FID": {"ours": fid, "scipy.linalg.sqrtm": fid_by_square_root},
    "precision and recall": {
        "ours": lambda real, fake: precision_recall(real, fake, K),
        "PRDC formula": prdc_formula,
        "prdc package (< for <=)": prdc_package,
    },
    "KID": {
        "ours, full sets": kid,
        "ours, full sets, float32 products": kid_in_single_products,
        "ours, 100 blocks of 1,000": kid_blocks(),
        "ours, 100 blocks of 1,000, float32 products": kid_blocks(products="float32"),
        "torchmetrics, 100 x 1,000, float32": torchmetrics_kid,
    },
}


def is_peer(name: str) -> bool:
    return name.startswith(PEERS)


def peak_memory(contest: str, name: str, folder: Path) -> None:
    """In a process of its own: print the peak beyond the loaded features, in MB, and the time."""
    score = CONTESTS[contest][name]
    real, fake = (np.load(folder / f"{which}.npy") for which in ("real", "fake"))
    score(real[:200], fake[:200])  # imports, threads and their buffers
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted anew from here (Linux)
    before, began, cpu_began = memory_kb("VmRSS"), time.perf_counter(), time.process_time()
    value = score(real, fake)
    result = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu_began}
    result["peak_mb"] = (memory_kb("VmHWM") - before) / 1024
    print(json.dumps({**result, "value": value}))


def memory_kb(name: str) -> int:
    """Not ru_maxrss: a process inherits that from the one that started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def measured_alone(contest: str, name: str, folder: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, "--memory", contest, name, "--folder", str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def save_features(folder: Path, images: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    real, fake = features(images, width, 1, -0.1), features(images, width, 2, -0.12)
    np.save(folder / "real.npy", real)
    np.save(folder / "fake.npy", fake)
    return real, fake


def run(contest: str, folder: Path, flags: argparse.Namespace) -> list[dict[str, Any]]:
    real, fake = (np.load(folder / f"{which}.npy") for which in ("real", "fake"))
    rows, seconds, cpu_seconds = [], {}, {}
    for name, score in CONTESTS[contest].items():
        row: dict[str, Any] = {"score": contest, "name": name}
        try:
            score(real[:200], fake[:200])
            seconds[name], cpu_seconds[name] = [], []
        except ImportError as missing:
            row["not_run"] = str(missing)
        rows.append(row)
    for _ in range(flags.repeats):  # in turns: a busy minute is shared
        for row in rows:
            if "not_run" not in row:
                began, cpu_began = time.perf_counter(), time.process_time()
                row["value"] = CONTESTS[contest][row["name"]](real, fake)
                seconds[row["name"]].append(time.perf_counter() - began)
                cpu_seconds[row["name"]].append(time.process_time() - cpu_began)
    peers = [median(seconds[name]) for name in seconds if is_peer(name)]
    for row in rows:
        if "not_run" not in row:
            name = row["name"]
            row |= {"seconds": median(seconds[name]), "all_seconds": seconds[name]}
            row["cpu_seconds"] = median(cpu_seconds[name])
            row["peak_mb"] = measured_alone(contest, name, folder)["peak_mb"]
            if peers and not is_peer(name):
                row["times_faster"] = peers[0] / row["seconds"]
        print(json.dumps(row), flush=True)
    return rows


def large(flags: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        save_features(Path(name), flags.large, flags.width)
        result = measured_alone("precision and recall", "ours", Path(name))
    title = f"precision and recall, {flags.large:,} x {flags.large:,}"
    return {"score": title, "name": "ours", "all_seconds": [result["seconds"]], **result}


def setting(flags: argparse.Namespace) -> dict[str, Any]:
    versions = {"triptych": triptych.__version__, "python": platform.python_version()}
    for package in ("numpy", "scipy", "torch", "scikit-learn", "torchmetrics", "prdc"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    kernels = [
        {key: info.get(key) for key in ("prefix", "version", "architecture", "num_threads")}
        for info in threadpool_info()
        if info["user_api"] == "blas"
    ]
    names = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OMP_NUM_THREADS")
    return {
        "images": flags.images,
        "width": flags.width,
        "repeats": flags.repeats,
        "processor": device.describe(torch.device("cpu")),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "blas": kernels,
        "environment": {name: os.environ.get(name, "not set") for name in names},
        "load_before": os.getloadavg(),
        "versions": versions,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--large", type=int, default=0, help="also the neighbors of so many images, once")
    parser.add_argument("--only", default="", help="run the scores whose name holds this")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--memory", nargs=2, metavar=("SCORE", "NAME"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.memory:
        contest, name = flags.memory
        return peak_memory(contest, name, flags.folder)
    facts, rows = setting(flags), []
    with tempfile.TemporaryDirectory() as name:
        save_features(Path(name), flags.images, flags.width)
        for contest in CONTESTS:
            if flags.only.lower() in contest.lower():
                rows += run(contest, Path(name), flags)
    if flags.large:
        rows.append(large(flags))
    facts["load_after"] = os.getloadavg()
    return write(facts, rows, flags.out)


def write(facts: dict[str, Any], rows: list[dict[str, Any]], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "metrics_speed.json").write_text(json.dumps({"setting": facts, "rows": rows}, indent=1) + "\n")
    packages = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    kernels = "; ".join(f"{x['prefix']} {x['version']} ({x['architecture']})" for x in facts["blas"])
    environment = ", ".join(f"{name} {value}" for name, value in facts["environment"].items())
    lines = [
        f"# Scores of {facts['images']:,} x {facts['images']:,} features, {facts['width']:,} wide",
        "",
        f"{facts['processor']}, {facts['threads']} threads; load average {facts['load_before'][0]:.1f} "
        f"before, {facts['load_after'][0]:.1f} after. {packages}.",
        f"BLAS of NumPy and SciPy: {kernels}. {environment}.",
        f"Medians of {facts['repeats']} in turns; memory is the peak beyond the loaded float32 features, "
        "in a process of its own.",
        "",
        "| score | by | s | CPU s | faster than the peer | MB | value |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if "not_run" in row:
            lines.append(f"| {row['score']} | {row['name']} | *not run*: {row['not_run']} | | | | |")
            continue
        value = row["value"] if isinstance(row["value"], tuple | list) else [row["value"]]
        faster = f"{row['times_faster']:.2f} x" if "times_faster" in row else ""
        figures = f"{row['seconds']:.2f} | {row['cpu_seconds']:.2f} | {faster} | {row['peak_mb']:,.0f}"
        values = ", ".join(f"{x:.10g}" for x in value)
        lines.append(f"| {row['score']} | {row['name']} | {figures} | {values} |")
    (out / "metrics_speed.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
