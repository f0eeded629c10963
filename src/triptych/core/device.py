"""The machine: the only file that names a kind of device."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def choose(name: str = "auto") -> torch.device:
    """A device by name; auto takes the first of GPU, Apple's GPU, processor that is there."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device {name!r} is not to be had here ({str(error).splitlines()[0]}); --device cpu always is"
        ) from error
    return device


def bf16_is_native(device: torch.device) -> bool:
    """Whether bfloat16 arithmetic is done by the hardware rather than imitated."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False


def prefers_channels_last(device: torch.device) -> bool:
    """Whether convolutions always run faster with channels stored last: on GPUs yes.

    On processors it depends on the network (measured on 2 cores: a VAE gains a half, a U-Net with group
    norms loses a third), so there it is timed.
    """
    return device.type == "cuda"


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Float32 as it is written for a while: no TF32, no autocast, no choosing of kernels by the clock."""
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_tf32
    convolutions = torch.backends.cudnn.flags(
        enabled=torch.backends.cudnn.enabled, benchmark=False, deterministic=True, allow_tf32=False
    )
    matmul.allow_tf32 = False
    try:
        with convolutions, torch.autocast(device.type, enabled=False):
            yield
    finally:
        matmul.allow_tf32 = before


def wait(device: torch.device) -> None:
    """Let everything asked of the device finish: before reading a clock."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory_bytes(device: torch.device) -> int:
    """The most memory taken so far: on a GPU by tensors, elsewhere by the whole process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # bytes on macOS, KiB elsewhere


def describe(device: torch.device) -> str:
    """The device in words, for the report."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return device.type
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123 - not a path of ours
            model = next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        import platform

        model = platform.processor() or platform.machine()
    return f"{model}, {os.cpu_count()} cores"
