"""The hardware behind a request: how many GPUs, for how long, and what making it cost.

The figures are EcoLogits' 0.11.3 (https://ecologits.ai/latest/methodology/llm_inference/):
servers of eight H100s with 80 GB, 64 requests at a time, written off over three years.
"""

import math

BATCH = 64
SERVER_GPUS = 8
SERVER_KW = 1.2  # without its GPUs
GPU_MEMORY_GB = 80
MEMORY_MARGIN = 1.2  # weights take this much more when loaded

GPU_EMBODIED_KG = 273
SERVER_EMBODIED_KG = 5700
LIFETIME_S = 3 * 365 * 24 * 3600

# Seconds per output token: per billion active parameters, per request at a time, fixed.
LATENCY_S = (0.0006785088094353663, 0.0003119310311688259, 0.019473717579473387)


def gpu_count(weight_gb: float) -> int:
    """GPUs that hold the weights, rounded up to a power of two."""
    needed = math.ceil(MEMORY_MARGIN * weight_gb / GPU_MEMORY_GB)
    return 1 << (max(needed, 1) - 1).bit_length()


def token_s(active_b: float, tokens_per_s: float | None = None) -> float:
    """Seconds per output token of one request: as measured, else by regression."""
    if tokens_per_s:
        return 1 / tokens_per_s
    per_b, per_request, fixed = LATENCY_S
    return per_b * active_b + per_request * BATCH + fixed


def server_wh_per_s(gpus: int) -> float:
    """Energy of the servers without their GPUs, per second of one request."""
    return SERVER_KW * 1000 / 3600 * gpus / SERVER_GPUS / BATCH


def embodied_g_per_s(gpus: int) -> float:
    """Carbon of making the hardware that one second of one request takes up."""
    kilograms = gpus * (SERVER_EMBODIED_KG / SERVER_GPUS + GPU_EMBODIED_KG)
    return kilograms * 1000 / (LIFETIME_S * BATCH)
