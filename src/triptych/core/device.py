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


def bf16_pays(device: torch.device) -> tuple[bool, str]:
    """Whether bfloat16 is the faster arithmetic of a device, and why, in a few words.

    On processors: with matrix tiles (AMX), or where one AVX512-BF16 instruction, which does twice the
    work of an fp32 one, is issued as often: AMD's since Zen 4. Intel's is issued half as often, so that
    converting costs time and nothing saves any (`benchmarks/arithmetic.py` measures it).
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
    """Whether oneDNN may use one of these instructions; without a word of the user's it may use all."""
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    return not limit or any(name in limit for name in instructions)


def vendor() -> str:
    """The processor's maker as the processor itself says it; empty where the system does not tell."""
    return _of_processor("vendor_id")


def _of_processor(name: str) -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123 - not a path of ours
            return next((line.split(":")[1].strip() for line in file if line.startswith(name)), "")
    except OSError:
        return ""


def instructions() -> str:
    """Which instructions of the processor PyTorch and oneDNN use: bits depend on them."""
    names = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA")
    limits = [f", {name}={os.environ[name]}" for name in names if os.environ.get(name)]
    return torch.backends.cpu.get_cpu_capability() + "".join(limits)


def prefers_channels_last(device: torch.device, network: bool) -> bool:
    """Whether to store channels last: on GPUs always, on processors where the network is faster so."""
    return device.type == "cuda" or (device.type == "cpu" and network)


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
    if not (model := _of_processor("model name")):
        import platform

        model = platform.processor() or platform.machine()
    return f"{model}, {os.cpu_count()} cores"
