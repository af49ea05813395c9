"""GPUs, seconds and what making them cost."""

import pytest

from lowproxy.core import eco_hardware as hardware


@pytest.mark.parametrize(
    ("weight_gb", "gpus"),
    [(0.1, 1), (16, 1), (66.6, 1), (66.7, 2), (140, 4), (810, 16), (1350, 32)],
)
def test_gpus_hold_the_weights_with_a_margin(weight_gb, gpus):
    """80 GB each, a fifth more than the weights, rounded up to a power of two."""
    assert hardware.gpu_count(weight_gb) == gpus


def test_a_measured_speed_goes_before_the_regression():
    """Seconds per token are one over tokens per second where these are known."""
    assert hardware.token_s(70, 50.0) == 0.02
    assert hardware.token_s(70) == pytest.approx(0.0869, rel=1e-3)


def test_a_whole_server_for_its_whole_life_is_what_it_was_made_for():
    """64 requests at a time on eight GPUs for three years: 5700 + 8 x 273 kg."""
    grams = hardware.embodied_g_per_s(8) * hardware.LIFETIME_S * hardware.BATCH

    assert grams == pytest.approx((5700 + 8 * 273) * 1000)
