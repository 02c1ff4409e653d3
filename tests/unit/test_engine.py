"""Engines: all compute the reference's arithmetic, and a missing GPU is reported."""

import builtins
import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from superres.errors import ModelError, PrerequisiteError
from superres.models import default_model_path
from superres.network import engine as engines
from superres.network import precision as precisions
from superres.network import reference
from superres.network.engine import (
    Engine,
    cpu_engine,
    engine_in_this_process,
    fetch_weights,
    make_engine,
    torch_engine,
)
from superres.network.fsrcnn import Fsrcnn, network_from
from superres.network.precision import decided_recipe
from superres.network.tiling import with_halo
from superres.network.weights import HALO, Weights, load_weights, save_weights
from superres.pipeline.config import Processing, Settings
from tests.support.networks import noise, random_weights

LIBRARIES = ("openvino", "onnxruntime", "torch")
STABLE = settings(derandomize=True, deadline=None, max_examples=20)


def engine_of(weights: Weights, library: str) -> Engine:
    if library == "torch":
        return torch_engine(weights, "cpu")
    return cpu_engine(weights, "openvino" if library == "openvino" else "onnxruntime")


@pytest.fixture(scope="module", params=LIBRARIES)
def engines_by_scale(request) -> dict[int, Engine]:
    return {scale: engine_of(random_weights(scale), request.param) for scale in (2, 3, 4)}


@pytest.mark.slow
@STABLE
@given(
    scale=st.sampled_from([2, 3, 4]),
    channels=st.integers(1, 4),
    depth=st.sampled_from([8, 16]),
    batch=st.integers(1, 3),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
)
def test_every_engine_computes_the_reference(
    engines_by_scale, scale, channels, depth, batch, height, width
):
    dtype = np.uint8 if depth == 8 else np.uint16
    low = noise(height, batch, channels, height, width, dtype=dtype)
    luma = reference.fsrcnn(random_weights(scale))
    expected = np.stack([reference.upscale(each, scale, luma) for each in low])
    result = engines_by_scale[scale].upscale(with_halo(low))
    assert result.dtype == dtype
    assert result.shape == (batch, channels, height * scale, width * scale)
    difference = np.abs(result.astype(int) - expected)
    assert difference.max() <= 1
    # Rounding ties: float32 is exact to about 0.02 of a level of 16 bits.
    assert np.mean(difference > 0) < (0.001 if depth == 8 else 0.03) or difference.sum() <= 1


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_every_engine_upscales_luma_like_the_reference(scale, library):
    weights = load_weights(default_model_path(scale), scale)
    low = np.random.default_rng(0).random((2, 1, 30, 21), np.float32)
    high = engine_of(weights, library).upscale_luma(with_halo(low))
    assert high.dtype == np.float32
    for each, expected in zip(high[:, 0], low[:, 0], strict=True):
        expected = reference.fsrcnn(weights)(expected)
        np.testing.assert_allclose(each, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_inside_an_image_the_halo_is_what_is_around(scale, library):
    """The halo may have any pixels, as it has in a tile that does not lie at the edge."""
    low, border = noise(0, 1, 4, 45, 37), scale * HALO
    whole = reference.upscale(low[0], scale, reference.fsrcnn(random_weights(scale)))
    result = engine_of(random_weights(scale), library).upscale(low)[0].astype(int)
    assert np.abs(result - whole[:, border:-border, border:-border]).max() <= 1


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_result_stays_valid_after_the_next_call(library):
    engine = engine_of(random_weights(2), library)
    first = engine.upscale(noise(0, 1, 3, 24, 24))
    kept = first.copy()
    engine.upscale(noise(1, 1, 3, 24, 24))
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("library", LIBRARIES)
def test_an_engine_takes_any_memory_order(library):
    engine = engine_of(random_weights(2), library)
    strided = noise(0, 1, 20, 40, 3).transpose(0, 3, 2, 1)[:, :, ::2]
    packed = np.ascontiguousarray(strided)
    np.testing.assert_array_equal(engine.upscale(strided), engine.upscale(packed))


@pytest.mark.parametrize("library", LIBRARIES)
def test_an_engine_has_the_scale_and_digest_of_its_weights(library):
    weights = random_weights(3)
    engine = engine_of(weights, library)
    assert (engine.scale, engine.digest, engine.batch_pixels) == (3, weights.digest, 1)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor only")
def test_openvino_pins_no_thread_to_a_core():
    """Otherwise the workers of a machine would share one core."""
    engine = cpu_engine(random_weights(2), "openvino")
    low = noise(0, 1, 3, 256, 256)
    engine.upscale(low)
    done, cores = threading.Event(), os.sched_getaffinity(0)
    seen: set[frozenset[int]] = set()

    def watch() -> None:
        while not done.is_set():
            for thread in Path("/proc/self/task").iterdir():
                with suppress(ProcessLookupError):  # it has ended
                    seen.add(frozenset(os.sched_getaffinity(int(thread.name))))

    watcher = threading.Thread(target=watch)
    watcher.start()
    engine.upscale(low)
    done.set()
    watcher.join()
    assert seen == {frozenset(cores)}


_RESIDENT_OF_NETWORKS = """
import numpy as np
from superres.models import NETWORKS, default_model_path
from superres.network.engine import cpu_engine
from superres.network.weights import HALO, load_weights

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 >> 20

low, engines = np.zeros((1, 3, 512 + 2 * HALO, 512 + 2 * HALO), np.uint8), []
for name in NETWORKS:
    engines.append(cpu_engine(load_weights(default_model_path(2, name), 2), "openvino"))
    engines[-1].upscale(low)
    print(resident())
"""


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="Linux only")
def test_only_the_network_that_ran_last_keeps_its_memory():
    done = subprocess.run(
        [sys.executable, "-c", _RESIDENT_OF_NETWORKS], capture_output=True, text=True, check=True
    )
    first, *_, last = map(int, done.stdout.split())
    # Each further network would take 80 MB otherwise; its code and weights take 15.
    assert last - first < 5 * 40


def test_without_openvino_the_cpu_uses_onnxruntime(monkeypatch):
    monkeypatch.setattr(engines, "find_spec", lambda _: None)
    assert engines.cpu_library() == "onnxruntime"


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
@pytest.mark.parametrize(("half", "tolerance"), [(False, 1), (True, 3)])
def test_cuda_equals_the_cpu(scale, half, tolerance):
    weights = load_weights(default_model_path(scale), scale)
    low = noise(0, 9, 3, 64, 48)
    on_gpu = make_engine(weights, "cuda", "float16" if half else "single").upscale(low).astype(int)
    assert np.abs(on_gpu - make_engine(weights).upscale(low)).max() <= tolerance


def test_a_cpu_without_bfloat16_is_reported(monkeypatch):
    monkeypatch.setattr(engines, "cpu_has_bfloat16", lambda: False)
    with pytest.raises(PrerequisiteError, match="does not compute in bfloat16") as caught:
        make_engine(random_weights(2), "cpu", "bfloat16")
    assert "processing.half_precision: auto or false" in one_line(caught)


def test_onnxruntime_has_no_bfloat16(monkeypatch):
    monkeypatch.setattr(engines, "cpu_library", lambda: "onnxruntime")
    assert not engines.cpu_has_bfloat16()


@pytest.mark.parametrize(
    ("half", "device", "has", "precision"),
    [
        (False, "cpu", True, "single"),
        (True, "cpu", False, "bfloat16"),
        ("auto", "cpu", True, "bfloat16"),
        ("auto", "cpu", False, "single"),
        ("auto", "cuda", False, "float16"),
    ],
)
def test_what_drives_a_run_decides_on_its_precision(half, device, has, precision, monkeypatch):
    monkeypatch.setattr(precisions, "cpu_has_bfloat16", lambda: has)
    settings = Settings(processing=Processing(half_precision=half, device=device))
    assert decided_recipe(settings, 2).precision == precision


@pytest.mark.skipif(
    "avx512bw" not in Path("/proc/cpuinfo").read_text(), reason="OpenVINO would compute in float32"
)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bfloat16_rounds_what_training_rounds(scale):
    weights = load_weights(default_model_path(scale), scale)
    engine = cpu_engine(weights, "openvino", bfloat16=True)
    rounding = Fsrcnn(scale, half_precision=True).eval()
    rounding.load_state_dict(network_from(weights).state_dict())
    low = np.random.default_rng(0).random((1, 1, 80, 64), np.float32)
    border = scale * HALO
    with torch.inference_mode():
        expected = rounding(torch.from_numpy(low)).numpy()[..., border:-border, border:-border]
    difference = np.abs(engine.upscale_luma(low) - expected)
    single = np.abs(make_engine(weights).upscale_luma(low) - expected)
    # Sums differ in their last digits, and a map is then rounded up instead of down.
    assert np.mean(difference) < np.mean(single) / 50


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
