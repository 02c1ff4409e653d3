"""Engines: the same numbers from onnxruntime and torch, and a clear word where there is no GPU."""

import builtins

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from superres.errors import ModelError, PrerequisiteError
from superres.models import default_model_path
from superres.network import engine as engines
from superres.network.engine import (
    engine_in_this_process,
    fetch_weights,
    make_engine,
    torch_engine,
)
from superres.network.weights import load_weights, save_weights
from tests.support.networks import random_engine, random_weights

STABLE = settings(derandomize=True, deadline=None, max_examples=30)


@pytest.mark.slow
@STABLE
@given(
    scale=st.sampled_from([2, 3, 4]),
    batch=st.integers(1, 3),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
)
def test_onnxruntime_equals_torch(scale, batch, height, width):
    low = np.random.default_rng(height).random((batch, 1, height, width), np.float32)
    fast = random_engine(scale).upscale(low)
    reference = torch_engine(random_weights(scale), "cpu").upscale(low)
    assert fast.shape == (batch, 1, height * scale, width * scale)
    assert fast.dtype == reference.dtype == np.float32
    np.testing.assert_allclose(fast, reference, rtol=0, atol=1e-5)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_engines_of_the_shipped_weights_agree(scale):
    weights = load_weights(default_model_path(scale), scale)
    low = np.random.default_rng(0).random((1, 1, 64, 48), np.float32)
    np.testing.assert_allclose(
        make_engine(weights).upscale(low),
        torch_engine(weights, "cpu").upscale(low),
        rtol=0,
        atol=1e-5,
    )


@pytest.mark.parametrize("device", ["cpu", "torch"])
def test_an_engine_has_the_scale_and_digest_of_its_weights(device):
    weights = random_weights(3)
    engine = make_engine(weights) if device == "cpu" else torch_engine(weights, "cpu")
    assert (engine.scale, engine.digest, engine.batch_pixels) == (3, weights.digest, 1)


def one_line(caught: pytest.ExceptionInfo[Exception]) -> str:
    message = str(caught.value)
    assert message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("device", ["cuda", "cuda:3"])
def test_a_missing_gpu_is_reported(device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(PrerequisiteError) as caught:
        make_engine(random_weights(2), device)
    message = one_line(caught)
    assert repr(device) in message
    assert "processing.device: cpu" in message


def test_a_gpu_without_torch_is_reported(monkeypatch):
    real = builtins.__import__

    def without_torch(name, *arguments, **keywords):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError("No module named 'torch'")
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without_torch)
    with pytest.raises(PrerequisiteError) as caught:
        make_engine(random_weights(2), "cuda")
    assert "superres[gpu]" in one_line(caught)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(("half", "tolerance"), [(False, 1e-3), (True, 2e-2)])
def test_cuda_equals_the_cpu(scale, half, tolerance):
    weights = load_weights(default_model_path(scale), scale)
    low = np.random.default_rng(0).random((2, 1, 64, 48), np.float32)
    engine = make_engine(weights, "cuda", half=half)
    difference = np.abs(engine.upscale(low) - make_engine(weights).upscale(low))
    assert difference.max() <= tolerance


def test_a_process_makes_each_engine_once(monkeypatch):
    monkeypatch.setattr(engines, "_engines", {})
    first = engine_in_this_process(random_weights(2), "cpu")
    assert engine_in_this_process(random_weights(2), "cpu") is first
    assert engine_in_this_process(random_weights(2, seed=1), "cpu") is not first
    monkeypatch.setattr("os.getpid", lambda: -1)  # as after a fork
    assert engine_in_this_process(random_weights(2), "cpu") is not first


def test_weights_are_fetched_from_a_path(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_weights(random_weights(4), path)
    assert fetch_weights(str(path), 4).digest == random_weights(4).digest
    with pytest.raises(ModelError, match="no such checkpoint"):
        fetch_weights(str(tmp_path / "other.safetensors"), 4)
