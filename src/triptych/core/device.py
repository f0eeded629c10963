"""Devices and processors: the only file that names a kind of device."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def choose(name: str = "auto") -> torch.device:
    """Choose a device by name; "auto" takes the first that is there of GPU, Apple's GPU, CPU.

    Args:
        name: "auto", or a device by its name in PyTorch.

    Returns:
        The device.

    Raises:
        ValueError: If the device is not available.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device {name!r} is not available here ({str(error).splitlines()[0]}); --device cpu always works"
        ) from error
    return device


def bf16_pays(device: torch.device) -> tuple[bool, str]:
    """Whether bfloat16 is faster than float32 on a device, and why, in a few words.

    On CPUs it is with matrix tiles (AMX), and where one AVX512-BF16 instruction, which does twice the work of
    an fp32 one, is issued as often: on AMD since Zen 4. Intel issues it half as often, so that conversions
    cost time and nothing is gained (`benchmarks/arithmetic.py` measures it).
    """
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return native, "this GPU has bf16" if native else "this GPU has no bf16"
    if device.type != "cpu":
        return False, f"bf16 is not used on {device.type}"
    if _allowed("AMX", "DEFAULT", "ALL") and torch.cpu._is_amx_tile_supported():
        return True, "this processor has AMX tiles for bf16"
    short = (
        _allowed("BF16", "FP16", "AMX", "AVX10", "DEFAULT", "ALL") and torch.cpu._is_avx512_bf16_supported()
    )
    if short and vendor() == "AuthenticAMD":
        return True, "this processor does twice as much in bf16"
    return False, "bf16 is no faster on this processor"


def _allowed(*instructions: str) -> bool:
    """Whether oneDNN may use one of these instruction sets; without ONEDNN_MAX_CPU_ISA it may use all."""
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    return not limit or any(name in limit for name in instructions)


def vendor() -> str:
    """The vendor ID of the CPU; "" where the system does not tell."""
    return _of_processor("vendor_id")


def _of_processor(name: str) -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123 - not a path of ours
            return next((line.split(":")[1].strip() for line in file if line.startswith(name)), "")
    except OSError:
        return ""


def instructions() -> str:
    """The CPU instruction sets that PyTorch and oneDNN use: bits depend on them."""
    names = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA")
    limits = [f", {name}={os.environ[name]}" for name in names if os.environ.get(name)]
    return torch.backends.cpu.get_cpu_capability() + "".join(limits)


def prefers_channels_last(device: torch.device, network: bool) -> bool:
    """Whether to use channels-last memory layout.

    Args:
        device: On GPUs it always pays.
        network: Whether the network is faster in this layout on CPUs.

    Returns:
        True for channels last.
    """
    return device.type == "cuda" or (device.type == "cpu" and network)


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Compute in full float32: no TF32, no autocast, no choice of kernels by timing.

    Args:
        device: The device of the computation.

    Yields:
        Nothing; the former settings are restored at the end.
    """
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
    """Wait until the device has finished: before a clock is read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory_bytes(device: torch.device) -> int:
    """Peak memory so far: of tensors on a GPU, elsewhere of the whole process."""
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
    if not (model := _of_processor("model name")):
        import platform

        model = platform.processor() or platform.machine()
    return f"{model}, {os.cpu_count()} cores"
