"""Training: it improves, it goes on where it stopped, and it leaves what it promises."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from superres.errors import ConfigError, ModelError, PrerequisiteError
from superres.imaging.jpeg import through_jpeg
from superres.network.fsrcnn import Fsrcnn, network_from
from superres.network.weights import load_weights, make_weights, save_weights
from superres.pipeline.input_folder import image_files
from superres.training.data import augmented_pairs, batches, make_pair, read_luma
from superres.training.flat import flat_errors, keep_flat
from superres.training.train import Progress, Schedule, draw_curve, train
from tests.support.networks import random_weights

# Ten times the usual rate: over so few steps the warm-up lets hardly any of it through.
SCHEDULE = Schedule(scale=2, iterations=8, batch=4, patch=16, learning_rate=0.03, seed=7)


def texture(seed: int, side: int = 72) -> Image.Image:
    """Soft shapes with hard edges in colour: something a network can learn to sharpen."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side] / side
    image = np.zeros((side, side, 3))
    for _ in range(12):
        angle, offset = random.uniform(0, np.pi), random.uniform(-0.2, 1)
        edge = rows * np.sin(angle) + columns * np.cos(angle) > offset
        image += edge[..., None] * random.uniform(-80, 80, 3)
    return Image.fromarray(np.clip(image + 128, 0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("textures")
    for seed in range(3):
        texture(seed).save(target / f"{seed}.png")
    return target


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Small tensors; and the sums of more threads need not be the same twice."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def finished(folder, tmp_path_factory) -> tuple[Path, list[tuple[int, float, Progress | None]]]:
    """A whole run, and what it reported."""
    output = tmp_path_factory.mktemp("finished")
    reported: list[tuple[int, float, Progress | None]] = []
    path = train(
        [folder], output, SCHEDULE, check_every=2, report=lambda *line: reported.append(line)
    )
    assert path == output / "fsrcnn_x2.safetensors"
    return output, reported


@pytest.mark.slow
def test_training_improves_on_its_bicubic_start(folder, finished):
    _, reported = finished
    progress = [line for *_, line in reported if line]
    untrained = Schedule(scale=2, iterations=1, batch=4, patch=16, learning_rate=0, seed=7)
    start: list[Progress] = []
    train(
        [folder],
        finished[0] / "start",
        untrained,
        report=lambda _, __, line: start.append(line) if line else None,
    )
    assert progress[-1].validation_psnr > start[0].validation_psnr + 0.5
    assert progress[-1].loss < progress[0].loss


@pytest.mark.slow
def test_every_step_is_reported(finished):
    _, reported = finished
    assert [iteration for iteration, *_ in reported] == list(range(1, 9))
    assert all(np.isfinite(loss) for _, loss, _ in reported)
    assert [iteration for iteration, _, line in reported if line] == [2, 4, 6, 8]


@pytest.mark.slow
def test_a_run_leaves_weights_graph_history_and_curve(finished):
    output, reported = finished
    weights = load_weights(output / "fsrcnn_x2.safetensors", 2)
    assert np.abs(flat_errors(weights)).max() < 0.5 / 255
    assert weights.digest.encode() in (output / "fsrcnn_x2.onnx").read_bytes()
    with (output / "history_x2.csv").open() as file:
        lines = list(csv.DictReader(file))
    progress = [line for *_, line in reported if line]
    assert [int(line["iteration"]) for line in lines] == [2, 4, 6, 8]
    for line, reported in zip(lines, progress, strict=True):
        assert float(line["loss"]) == pytest.approx(reported.loss, rel=1e-5)
        assert float(line["validation_psnr"]) == pytest.approx(reported.validation_psnr, abs=1e-4)
    with Image.open(output / "training_x2.png") as curve:
        curve.load()
        assert curve.size == (800, 450)
        assert len(curve.convert("RGB").getcolors(1 << 20) or []) > 10
    assert {path.name for path in output.iterdir() if path.is_file()} == {
        "checkpoint_x2.pt",
        "fsrcnn_x2.onnx",
        "fsrcnn_x2.safetensors",
        "history_x2.csv",
        "training_x2.png",
    }


@pytest.mark.slow
def test_the_resumable_state_is_small_enough_to_commit(finished):
    assert (finished[0] / "checkpoint_x2.pt").stat().st_size < 1 << 20


class StoppedError(Exception):
    pass


@pytest.mark.slow
@pytest.mark.parametrize("stop", [4, 5])
def test_a_resumed_training_gives_the_result_of_an_unbroken_one(stop, folder, finished, tmp_path):
    """Stopped right after a checkpoint, and one step later: that step is done again."""

    def stopping(iteration: int, *_: object) -> None:
        if iteration == stop:
            raise StoppedError

    with pytest.raises(StoppedError):
        train([folder], tmp_path, SCHEDULE, check_every=2, report=stopping)
    assert not (tmp_path / "fsrcnn_x2.safetensors").exists()
    iterations: list[int] = []
    resumed = train(
        [folder], tmp_path, SCHEDULE, check_every=2, report=lambda n, *_: iterations.append(n)
    )
    assert iterations == [5, 6, 7, 8]
    whole = finished[0]
    assert resumed.read_bytes() == (whole / "fsrcnn_x2.safetensors").read_bytes()
    assert (tmp_path / "history_x2.csv").read_text() == (whole / "history_x2.csv").read_text()


@pytest.mark.slow
def test_a_finished_run_trains_no_further(folder, finished):
    output, _ = finished
    before = (output / "fsrcnn_x2.safetensors").read_bytes()
    reported: list[object] = []
    train([folder], output, SCHEDULE, check_every=2, report=lambda *line: reported.append(line))
    assert reported == []
    assert (output / "fsrcnn_x2.safetensors").read_bytes() == before


def one_line(caught: pytest.ExceptionInfo[Exception]) -> str:
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"iterations": 9}, {"seed": 8}, {"learning_rate": 0.2}])
def test_another_schedule_in_the_same_folder_is_refused(change, folder, finished):
    output, _ = finished
    before = (output / "checkpoint_x2.pt").read_bytes()
    other = Schedule(**{**SCHEDULE.__dict__, **change})
    with pytest.raises(ConfigError) as caught:
        train([folder], output, other)
    message = one_line(caught)
    assert str(output / "checkpoint_x2.pt") in message
    assert "--output" in message
    assert (output / "checkpoint_x2.pt").read_bytes() == before


@pytest.mark.slow
def test_a_damaged_checkpoint_is_refused(folder, finished, tmp_path):
    content = (finished[0] / "checkpoint_x2.pt").read_bytes()
    for damaged in (b"", content[: len(content) // 2], b"text"):
        (tmp_path / "checkpoint_x2.pt").write_bytes(damaged)
        with pytest.raises(ModelError) as caught:
            train([folder], tmp_path, SCHEDULE)
        assert "delete it to train from the start" in one_line(caught)


@pytest.mark.slow
def test_the_checkpoint_of_a_run_loads_as_weights(finished):
    output, _ = finished
    loaded = load_weights(output / "checkpoint_x2.pt", 2)
    written = load_weights(output / "fsrcnn_x2.safetensors", 2)
    assert keep_flat(loaded).digest == written.digest


@pytest.mark.slow
def test_another_scale_starts_from_the_body(folder, tmp_path):
    donor = tmp_path / "fsrcnn_x2.safetensors"
    save_weights(random_weights(2), donor)
    still = Schedule(scale=3, iterations=1, batch=1, patch=8, learning_rate=0.0)
    started = load_weights(train([folder], tmp_path / "out", still, start_from=donor), 3)
    for name, array in random_weights(2).tensors.items():
        assert np.array_equal(started.tensors[name], array) == (not name.startswith("deconv"))


@pytest.mark.slow
def test_the_same_scale_starts_from_all_layers(folder, tmp_path):
    donor = tmp_path / "fsrcnn_x2.safetensors"
    save_weights(random_weights(2), donor)
    still = Schedule(scale=2, iterations=1, batch=1, patch=8, learning_rate=0.0)
    started = load_weights(train([folder], tmp_path / "out", still, start_from=donor), 2)
    assert started.digest == keep_flat(random_weights(2)).digest


def test_a_start_without_a_scale_in_its_name_is_refused(folder, tmp_path):
    donor = tmp_path / "weights.safetensors"
    save_weights(random_weights(2), donor)
    with pytest.raises(ConfigError) as caught:
        train([folder], tmp_path / "out", SCHEDULE, start_from=donor)
    assert "the file name must contain the scale" in one_line(caught)


def test_a_missing_gpu_is_reported(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(PrerequisiteError, match="--device cpu"):
        train([folder], tmp_path, SCHEDULE, device="cuda")


def test_curve_of_a_perfect_network_is_drawn(tmp_path):
    """A loss of 0 has no position on a logarithmic axis; the curve must be drawn all the same."""
    draw_curve([Progress(1, 0.1, 30.0), Progress(2, 0.0, 40.0)], tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 1000


# ---- half precision


def bfloat16(array: np.ndarray) -> np.ndarray:
    return torch.from_numpy(np.array(array)).bfloat16().float().numpy()


def is_rounded(name: str, array: np.ndarray) -> bool:
    """Whether half precision rounds this parameter."""
    return array.ndim == 4 or (name.endswith(".bias") and name != "deconv.bias")


def test_a_network_in_half_precision_computes_what_bfloat16_does():
    weights = random_weights(2)
    network = Fsrcnn(2, half_precision=True)
    network.load_state_dict({n: torch.from_numpy(np.array(a)) for n, a in weights.tensors.items()})
    low = torch.rand(1, 1, 12, 12, generator=torch.Generator().manual_seed(1))
    rounded = make_weights(
        2,
        {n: bfloat16(a) if is_rounded(n, a) else a for n, a in weights.tensors.items()},
        "test",
    )
    features = low.bfloat16().float()
    plain = network_from(rounded)
    for name in ("feature_extraction", "shrink", "map", "expand"):
        layers = list(getattr(plain, name))
        for convolution, activation in zip(layers[::2], layers[1::2], strict=True):
            features = activation(convolution(features)).bfloat16().float()
    with torch.inference_mode():
        expected = plain.deconv(features)
        torch.testing.assert_close(network(low), expected, rtol=0, atol=1e-5)
        # Rounding to eight bits shows.
        assert (network(low) - network_from(weights)(low)).abs().max() > 1e-4


@pytest.mark.slow
def test_training_in_half_precision_gives_weights_that_it_holds_exactly(folder, tmp_path):
    schedule = replace(SCHEDULE, half_precision=True)
    trained = load_weights(train([folder], tmp_path, schedule), 2)
    for name, array in trained.tensors.items():
        exact = np.array_equal(array, bfloat16(array))
        last = name == "deconv.weight"  # keeps flat images flat
        assert exact or last or not is_rounded(name, array), name
    bias = trained.tensors["deconv.bias"]
    assert not np.array_equal(bias, bfloat16(bias))


@pytest.mark.slow
def test_checkpoints_of_before_these_options_are_resumed(folder, finished, tmp_path):
    checkpoint = tmp_path / "checkpoint_x2.pt"
    content = torch.load(finished[0] / "checkpoint_x2.pt", weights_only=True)
    for name in ("qualities", "half_precision"):
        del content["schedule"][name]
    torch.save(content, checkpoint)
    reported: list[object] = []
    train([folder], tmp_path, SCHEDULE, report=lambda *line: reported.append(line))
    assert reported == []
    with pytest.raises(ConfigError, match="give the same options"):
        train([folder], tmp_path, replace(SCHEDULE, half_precision=True))


# ---- data


def test_folders_that_cannot_train_are_named(tmp_path):
    with pytest.raises(ConfigError, match="no images there"):
        image_files(tmp_path)
    texture(0).save(tmp_path / "only.png")
    with pytest.raises(ConfigError, match="both train and validate"):
        train([tmp_path], tmp_path / "out", SCHEDULE)
    texture(1, side=20).save(tmp_path / "small.png")
    with pytest.raises(ConfigError, match="34 pixels wide and high"):
        train([tmp_path], tmp_path / "out", SCHEDULE)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_pairs_are_the_reduction_of_the_crop(scale, folder):
    luma = read_luma(folder / "0.png")[:70, :71]
    pair = make_pair(luma, scale)
    assert pair.high.shape == tuple(side * scale for side in pair.low.shape)
    assert pair.high.shape == (70 // scale * scale, 71 // scale * scale)
    assert pair.low.dtype == pair.high.dtype == np.float32
    np.testing.assert_allclose(pair.high * 255, luma[: pair.high.shape[0], : pair.high.shape[1]])
    means = pair.high.reshape(pair.low.shape[0], scale, pair.low.shape[1], scale).mean((1, 3))
    assert np.abs(pair.low - means).mean() < 0.02


def test_crops_of_both_sizes_show_the_same_content(folder):
    pairs = augmented_pairs(image_files(folder), 2, 16)
    assert len(pairs) == 3 * 5  # 72 pixels, shrunk to 0.6, still hold a crop of 34
    low, high = next(batches(pairs, 2, 16, 32, np.random.default_rng(3)))
    assert (low.shape, high.shape) == ((32, 1, 16, 16), (32, 1, 32, 32))
    means = high.reshape(32, 16, 2, 16, 2).mean(axis=(2, 4))
    assert np.abs(means - low[:, 0]).mean() < 0.01
    assert len({crop.tobytes() for crop in low}) == 32


def blockiness(crops: np.ndarray) -> np.ndarray:
    """Mean step between neighbouring columns, by column modulo 8."""
    steps = np.abs(np.diff(crops, axis=-1)).mean(axis=(0, 1, 2))
    return np.array([steps[phase::8].mean() for phase in range(8)])


def test_crops_go_through_jpeg_with_its_blocks_anywhere(folder):
    pairs = augmented_pairs(image_files(folder), 2, 16)
    clean, high = next(batches(pairs, 2, 16, 64, np.random.default_rng(3)))
    low, _ = next(batches(pairs, 2, 16, 64, np.random.default_rng(3), (10, 10)))
    fine, _ = next(batches(pairs, 2, 16, 64, np.random.default_rng(3), (100, 100)))
    # The first crop is the same one: its position was drawn before its quality.
    assert 0.004 < np.abs(low[0] - clean[0]).mean() < 0.1
    assert np.abs(fine[0] - clean[0]).max() < 4 / 255
    # No phase stands out, as it would if each crop began with a block.
    steps = blockiness(low)
    assert steps.max() < 1.5 * steps.min()
    means = high.reshape(64, 16, 2, 16, 2).mean(axis=(2, 4))
    assert np.abs(means[0] - low[0, 0]).mean() < 0.1


def test_jpeg_moves_luma_by_its_quantisation_only():
    luma = np.linspace(16, 235, 64 * 48, dtype=np.float32).reshape(64, 48)
    errors = [float(np.abs(through_jpeg(luma, q) - luma).mean()) for q in (95, 75, 40, 10)]
    assert errors == sorted(errors)
    assert errors[0] < 1
    flat = np.full((9, 7), 128.4, np.float32)
    np.testing.assert_array_equal(through_jpeg(flat, 50), np.full((9, 7), 128, np.float32))
    outside = np.array([[-4.0, 300.0]], np.float32)
    assert through_jpeg(outside, 100).min() >= 0
    assert through_jpeg(outside, 100).max() <= 255


def test_the_same_seed_draws_the_same_crops(folder):
    pairs = augmented_pairs(image_files(folder), 2, 16)
    draws = [batches(pairs, 2, 16, 4, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    one, same, other = ([next(draw)[0] for _ in range(3)] for draw in draws)
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.slow
def test_trained_weights_run(finished):
    network = network_from(load_weights(finished[0] / "fsrcnn_x2.safetensors", 2))
    with torch.inference_mode():
        assert network(torch.rand(1, 1, 9, 7)).shape == (1, 1, 18, 14)
