"""Checkpoints: ours load bit by bit, Lornatang's give his pixels, bad ones a one-line error."""

import os
import pickle
import stat
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from torch import nn

from superres.errors import ModelError
from superres.models import SCALES, default_model_path
from superres.network.engine import make_engine, torch_engine
from superres.network.fsrcnn import network_from, weights_of
from superres.network.onnx_graph import build_onnx
from superres.network.tiling import with_halo
from superres.network.weights import (
    HALO,
    Weights,
    cubic_taps,
    expected_shapes,
    load_weights,
    make_weights,
    save_weights,
    tap_rows,
)
from tests.support.networks import random_weights


class Plain(nn.Module):
    """FSRCNN as the paper draws it and Lornatang/FSRCNN-PyTorch names it."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.feature_extraction = nn.Sequential(nn.Conv2d(1, 56, 5, padding=2), nn.PReLU(56))
        self.shrink = nn.Sequential(nn.Conv2d(56, 12, 1), nn.PReLU(12))
        self.map = nn.Sequential(
            *(
                module
                for _ in range(4)
                for module in (nn.Conv2d(12, 12, 3, padding=1), nn.PReLU(12))
            )
        )
        self.expand = nn.Sequential(nn.Conv2d(12, 56, 1), nn.PReLU(56))
        self.deconv = nn.ConvTranspose2d(
            56, 1, 9, stride=scale, padding=4, output_padding=scale - 1
        )

    def forward(self, luma: torch.Tensor) -> torch.Tensor:
        features = self.map(self.shrink(self.feature_extraction(luma)))
        return self.deconv(self.expand(features))


def plain_network(scale: int, seed: int = 0) -> Plain:
    network = Plain(scale)
    state = random_weights(scale, seed).tensors.items()
    network.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in state})
    return network.eval()


def luma(height: int = 23, width: int = 31) -> np.ndarray:
    return np.random.default_rng(5).random((2, 1, height, width), np.float32)


@torch.inference_mode()
def output_of(network: nn.Module, low: np.ndarray, scale: int) -> np.ndarray:
    """Of an image that is mirrored at its edges, without what the network's own padding reaches."""
    border = scale * HALO
    high: np.ndarray = network(torch.from_numpy(with_halo(low))).numpy()
    return high[..., border:-border, border:-border]


def reason_for(path: Path, scale: int = 2) -> str:
    """The one-line error for a checkpoint."""
    with pytest.raises(ModelError) as caught:
        load_weights(path, scale)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    assert "weights_only" not in message  # torch advises to turn the protection off
    return message


# ---- our own files


@pytest.mark.parametrize("scale", SCALES)
def test_safetensors_come_back_bit_by_bit(scale, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_weights(random_weights(scale), path)
    loaded = load_weights(path, scale)
    assert (loaded.scale, loaded.digest) == (scale, random_weights(scale).digest)
    assert set(loaded.tensors) == set(expected_shapes())
    for name, array in random_weights(scale).tensors.items():
        np.testing.assert_array_equal(loaded.tensors[name], array)


def test_saved_weights_are_as_readable_as_any_file(tmp_path):
    (tmp_path / "any").touch()
    save_weights(random_weights(2), tmp_path / "weights.safetensors")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert len(modes) == 1


def test_equal_weights_give_equal_files(tmp_path):
    contents = set()
    for _ in range(8):
        save_weights(random_weights(2), tmp_path / "weights.safetensors")
        contents.add((tmp_path / "weights.safetensors").read_bytes())
    assert len(contents) == 1


def counting_weights(scale: int) -> Weights:
    tensors = {
        name: np.arange(np.prod(shape), dtype=np.float32).reshape(shape) / 256
        for name, shape in expected_shapes().items()
    }
    return make_weights(scale, tensors, "counting")


def test_a_digest_never_changes():
    """Evaluations contain the digest; if it changed, they would no longer identify their model."""
    assert counting_weights(2).digest == (
        "772c81d77daadaf02f874f6847d483c722e0312bc7f27226e9bc762ce5e187bf"
    )


def test_digest_depends_on_scale_and_on_every_tensor():
    weights = counting_weights(2)
    digests = {weights.digest, counting_weights(3).digest}
    for name, array in weights.tensors.items():
        changed = array.copy()
        changed.flat[-1] += 1
        digests.add(make_weights(2, {**weights.tensors, name: changed}, "changed").digest)
    assert len(digests) == 2 + len(expected_shapes())


def test_digest_ignores_order_layout_and_precision_of_the_source():
    weights = counting_weights(2)
    other = {
        name: np.asfortranarray(array.astype(np.float64))
        for name, array in reversed(list(weights.tensors.items()))
    }
    assert make_weights(2, other, "other").digest == weights.digest


def test_the_architecture_has_the_parameters_of_the_paper():
    assert sum(int(np.prod(shape)) for shape in expected_shapes().values()) == 12_809


@pytest.mark.parametrize("scale", SCALES)
def test_network_gives_its_weights_back(scale):
    assert weights_of(network_from(random_weights(scale))).digest == random_weights(scale).digest


# ---- what is shipped


@pytest.mark.parametrize("scale", SCALES)
def test_shipped_onnx_is_the_shipped_safetensors(scale):
    path = default_model_path(scale)
    weights = load_weights(path, scale)
    model = onnx.load(path.with_suffix(".onnx"))
    onnx.checker.check_model(model, full_check=True)
    assert {entry.key: entry.value for entry in model.metadata_props} == {
        "scale": str(scale),
        "digest": weights.digest,
    }
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (result,) = session.run(None, {"low": luma()})
    assert result.shape == (2, 1, 23 * scale, 31 * scale)
    np.testing.assert_allclose(
        result, output_of(network_from(weights), luma(), scale), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("scale", SCALES)
def test_shipped_weights_sharpen(scale):
    """Not a quality figure (docs has those): the right file for the right scale, and not noise."""
    engine = make_engine(load_weights(default_model_path(scale), scale))
    rows, columns = np.mgrid[:40, :40].astype(np.float32)
    low = 0.5 + 0.3 * np.sin(rows / 4) * np.cos(columns / 5)
    high = engine.upscale_luma(with_halo(low[None, None]))[0, 0]
    means = high.reshape(40, scale, 40, scale).mean(axis=(1, 3))
    assert np.abs(means - low).max() < 0.02


# ---- the rewritten deconvolution


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (12, 1), (23, 31)], ids=str)
def test_every_engine_equals_the_plain_network(scale, size):
    low = luma(*size)
    plain = output_of(plain_network(scale), low, scale)
    for engine in (make_engine(random_weights(scale)), torch_engine(random_weights(scale), "cpu")):
        result = engine.upscale_luma(with_halo(low))
        assert result.dtype == np.float32
        np.testing.assert_allclose(result, plain, rtol=0, atol=1e-5)


@pytest.mark.parametrize("scale", SCALES)
def test_taps_use_every_row_of_the_kernel_once(scale):
    taps = [tap for row in tap_rows(scale) for tap in row if tap is not None]
    assert sorted(taps) == list(range(9))


@pytest.mark.parametrize("scale", SCALES)
def test_cubic_taps_enlarge_a_constant_to_itself(scale):
    taps = cubic_taps(scale)
    for phase in tap_rows(scale):
        assert sum(taps[tap] for tap in phase if tap is not None) == pytest.approx(1)


# ---- Lornatang/FSRCNN-PyTorch


def training_checkpoint(network: nn.Module, **more: object) -> dict[str, object]:
    momenta = enumerate(torch.zeros_like(tensor) for tensor in network.parameters())
    optimizer = {
        "state": {number: {"momentum_buffer": momentum} for number, momentum in momenta},
        "param_groups": [{"lr": 1e-3, "momentum": 0.9, "nesterov": False, "params": [0, 1]}],
    }
    return {
        "epoch": 3000,
        "best_psnr": 37.09,
        "state_dict": network.state_dict(),
        "optimizer": optimizer,
        "scheduler": None,
        **more,
    }


def prefixed(network: nn.Module, prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: tensor for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("scale", SCALES)
def test_a_lornatang_checkpoint_runs_as_its_own_network(scale, tmp_path):
    path = tmp_path / f"fsrcnn_x{scale}-T91.pth.tar"
    torch.save(training_checkpoint(plain_network(scale)), path)
    weights = load_weights(path, scale)
    assert weights.digest == random_weights(scale).digest
    result = make_engine(weights).upscale_luma(with_halo(luma()))
    expected = output_of(plain_network(scale), luma(), scale)
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."]
)
@pytest.mark.parametrize("name", ["best.pth.tar", "last.pth", "weights.pt"])
def test_prefixes_of_names_and_wrappers_in_files_are_removed(prefix, name, tmp_path):
    state = prefixed(plain_network(2), prefix)
    for content in (state, {"state_dict": state}, {"epoch": 1, "model": state}):
        torch.save(content, tmp_path / name)
        assert load_weights(tmp_path / name, 2).digest == random_weights(2).digest


def test_averaged_weights_are_preferred(tmp_path):
    averaged = torch.optim.swa_utils.AveragedModel(plain_network(2, seed=1))
    path = tmp_path / "best.pth.tar"
    torch.save(training_checkpoint(plain_network(2), ema_state_dict=averaged.state_dict()), path)
    assert load_weights(path, 2).digest == random_weights(2, seed=1).digest


def test_half_precision_checkpoints_load_as_float32(tmp_path):
    path = tmp_path / "half.pth"
    torch.save(plain_network(2).half().state_dict(), path)
    assert {array.dtype for array in load_weights(path, 2).tensors.values()} == {np.dtype("f4")}


# ---- what must be refused


class Malicious:
    """Runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize(
    "save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content, 2))]
)
def test_a_malicious_checkpoint_is_refused_and_not_run(save, tmp_path):
    mark, path = tmp_path / "executed", tmp_path / "best.pth.tar"
    save({"state_dict": plain_network(2).state_dict(), "epoch": Malicious(mark)}, path)
    assert "loads safely" in reason_for(path)
    assert not mark.exists()
    with suppress(Exception):
        torch.load(path, weights_only=False)
    assert mark.exists()  # it would have been run


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth", "weights.pth.tar"])
@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04", b"<html>404</html>", b"text\n" * 99, bytes(1000)], ids=repr
)
def test_a_file_that_is_no_checkpoint_is_refused(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    reason_for(tmp_path / name)


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth.tar"])
@pytest.mark.parametrize("kept", [0.01, 0.5, 0.99])
def test_a_truncated_file_is_refused(name, kept, tmp_path):
    path = tmp_path / name
    if name.endswith("tar"):
        torch.save(training_checkpoint(plain_network(2)), path)
    else:
        save_weights(random_weights(2), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    reason_for(path)


def test_an_absent_file_is_named(tmp_path):
    assert "no such checkpoint" in reason_for(tmp_path / "nowhere.safetensors")
    assert "no such checkpoint" in reason_for(tmp_path)


def test_the_wrong_scale_is_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_weights(random_weights(3), path)
    assert "scale 3, not 2" in reason_for(path, 2)


def changed(name: str, value: np.ndarray | None) -> dict[str, np.ndarray]:
    tensors = dict(random_weights(2).tensors)
    if value is None:
        del tensors[name]
    else:
        tensors[name] = value
    return tensors


@pytest.mark.parametrize("suffix", [".safetensors", ".pth.tar"])
@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("map.7.weight", None, "'map.7.weight' is missing"),
        ("deconv.weight", np.zeros((56, 1, 5, 5), np.float32), "expected (56, 1, 9, 9)"),
        ("shrink.1.weight", np.zeros(1, np.float32), "(1,), expected (12,)"),
        ("expand.0.bias", np.full(56, np.nan, np.float32), "'expand.0.bias' holds values"),
        ("deconv.bias", np.full(1, np.inf, np.float32), "'deconv.bias' holds values"),
    ],
)  # fmt: skip
def test_tensors_that_do_not_fit_are_named(suffix, name, value, reason, tmp_path):
    path = tmp_path / f"weights{suffix}"
    tensors = changed(name, value)
    if suffix == ".safetensors":
        safetensors.numpy.save_file(tensors, path)
    else:
        torch.save(
            {"state_dict": {k: torch.from_numpy(v.copy()) for k, v in tensors.items()}}, path
        )
    assert reason in reason_for(path)


@pytest.mark.parametrize("content", [[1, 2], {}, {"state_dict": {}}, {0: torch.zeros(1)}, None])
def test_torch_files_of_something_else_are_refused(content, tmp_path):
    torch.save(content, tmp_path / "weights.pth")
    reason_for(tmp_path / "weights.pth")


def test_bfloat16_loads_or_is_refused(tmp_path):
    """Which of the two depends on whether a library has taught numpy the type by then."""
    path = tmp_path / "weights.safetensors"
    state = plain_network(2).bfloat16().state_dict()
    safetensors.torch.save_file(state, path)
    try:
        weights = load_weights(path, 2)
    except ModelError:
        assert "save it as float32" in reason_for(path)
    else:
        np.testing.assert_array_equal(
            weights.tensors["deconv.weight"], state["deconv.weight"].float().numpy()
        )


def test_onnx_graph_needs_no_torch_and_is_valid():
    onnx.checker.check_model(build_onnx(random_weights(3)), full_check=True)
