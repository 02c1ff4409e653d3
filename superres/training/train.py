"""Training of FSRCNN, for `superres train`.

Mean squared error on luma (PSNR is what is reported), SOAP as the optimizer (Vyas et al., 2024,
arXiv 2409.11321: Adam in Shampoo's eigenbasis; on this network 500 of its steps do what 3,000 of
Adam's do), warm-up and cosine decay, an exponential moving average of the weights as the result.
The checkpoint contains everything that the result depends on, so a training that was stopped and
resumed gives the same result as one that was not.
"""

import csv
import io
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_optimizer import SOAP

from superres.errors import ConfigError, ModelError, PrerequisiteError
from superres.imaging.jpeg import through_jpeg
from superres.network.fsrcnn import Fsrcnn, network_from, weights_of
from superres.network.onnx_graph import export_onnx
from superres.network.weights import load_weights, save_weights
from superres.pipeline import storage
from superres.pipeline.input_folder import image_files
from superres.quality.metrics import psnr_of
from superres.training.data import Pair, augmented_pairs, batches, make_pair, read_luma
from superres.training.flat import keep_flat

WARM_UP = 300
SECOND_MOMENT = 0.95  # with first moment: SOAP's published defaults
EMA_DECAY = 0.999
VALIDATION_EVERY = 10  # each tenth image of the last data folder validates


@dataclass(frozen=True)
class Schedule:
    """What the result depends on besides the data.

    Attributes:
        qualities: JPEG qualities, lowest and highest, that low resolution goes through.
        half_precision: Trains for engines that compute in bfloat16; the resulting convolutions have
            weights that it holds exactly, but for the last layer, which then keeps images flat.
    """

    scale: int
    iterations: int
    batch: int = 8
    patch: int = 32
    learning_rate: float = 3e-3
    seed: int = 0
    qualities: tuple[int, int] | None = None
    half_precision: bool = False


@dataclass(frozen=True)
class Progress:
    """One line of the history: mean training loss since the last line, validation PSNR in dB."""

    iteration: int
    loss: float
    validation_psnr: float


@dataclass
class _State:
    network: Fsrcnn
    average: Fsrcnn
    optimizer: Any
    random: np.random.Generator
    iteration: int
    history: list[Progress]


def train(
    folders: list[Path],
    output: Path,
    schedule: Schedule,
    *,
    start_from: Path | None = None,
    device: str = "cpu",
    compile_network: bool = False,
    report: Callable[[int, float, Progress | None], None] = lambda *_: None,
    check_every: int = 1000,
) -> Path:
    """Trains, or resumes from ``output/checkpoint_x{s}.pt``; returns the safetensors path.

    Also writes the ONNX export, the history (CSV), the training curve and the checkpoint there.
    ``start_from`` is a checkpoint of any scale; of another scale all layers but the deconvolution
    are reused, as in the paper. Calls ``report(iteration, loss, progress)`` after every step.
    Raises ``ConfigError`` for unusable data, or a checkpoint of another schedule.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise PrerequisiteError("--device cuda: torch finds no GPU here; use --device cpu")
    output.mkdir(parents=True, exist_ok=True)
    checkpoint = output / f"checkpoint_x{schedule.scale}.pt"
    training, validation = _split_files(folders)
    pairs = augmented_pairs(training, schedule.scale, schedule.patch)
    held_out = [_validation_pair(file, schedule) for file in validation]
    state = _fresh(schedule, start_from, device)
    if checkpoint.is_file():
        _resume(state, checkpoint, schedule)
    forward: Callable[[torch.Tensor], torch.Tensor] = (
        torch.compile(state.network) if compile_network else state.network
    )
    crops = batches(
        pairs,
        schedule.scale,
        schedule.patch,
        schedule.batch,
        state.random,
        schedule.qualities,
    )
    losses: list[float] = []
    while state.iteration < schedule.iterations:
        low, high = next(crops)
        loss = _step(state, schedule, forward, low, high, device)
        losses.append(loss)
        progress = None
        if state.iteration % check_every == 0 or state.iteration == schedule.iterations:
            quality = _validate(state.average, held_out, schedule.scale, device)
            progress = Progress(state.iteration, float(np.mean(losses)), quality)
            state.history.append(progress)
            losses = []
            _save(state, checkpoint, schedule)
        report(state.iteration, loss, progress)
    return _finish(state, output, schedule)


def _split_files(folders: list[Path]) -> tuple[list[Path], list[Path]]:
    listed = [image_files(folder) for folder in folders]
    validation = listed[-1][::VALIDATION_EVERY]
    held_out = set(validation)
    training = [file for files in listed for file in files if file not in held_out]
    if not training:
        raise ConfigError(f"{folders[-1]}: a single image cannot both train and validate; add more")
    return training, validation


def _validation_pair(file: Path, schedule: Schedule) -> Pair:
    """A pair of a held-out image, at the middle of the JPEG qualities."""
    pair = make_pair(read_luma(file), schedule.scale)
    if schedule.qualities is None:
        return pair
    low = through_jpeg(pair.low * np.float32(255), sum(schedule.qualities) // 2)
    return Pair(low / np.float32(255), pair.high)


def _fresh(schedule: Schedule, start_from: Path | None, device: str) -> _State:
    torch.manual_seed(schedule.seed)
    network = Fsrcnn(schedule.scale, half_precision=schedule.half_precision)
    network.start_from_bicubic()
    if start_from is not None:
        donor = network_from(load_weights(start_from, _scale_of(start_from)))
        # Only the deconvolution depends on the scale.
        same = donor.scale == schedule.scale
        reused = donor.state_dict().items()
        body = {name: value for name, value in reused if same or not name.startswith("deconv")}
        network.load_state_dict(body, strict=False)
    network.to(device)
    average = Fsrcnn(schedule.scale, half_precision=schedule.half_precision).to(device)
    average.load_state_dict(network.state_dict())
    optimizer = SOAP(
        network.parameters(),
        lr=schedule.learning_rate,
        betas=(SECOND_MOMENT, SECOND_MOMENT),
        weight_decay=0.0,
    )
    return _State(network, average, optimizer, np.random.default_rng(schedule.seed), 0, [])


def _scale_of(path: Path) -> int:
    for scale in (2, 3, 4):
        if f"x{scale}" in path.stem:
            return scale
    raise ConfigError(f"{path}: the file name must contain the scale, as in fsrcnn_x2.safetensors")


def _learning_rate(schedule: Schedule, iteration: int) -> float:
    warm = min(1.0, iteration / WARM_UP)
    cosine = 0.5 * (1 + math.cos(math.pi * iteration / schedule.iterations))
    return schedule.learning_rate * warm * cosine


def _step(
    state: _State,
    schedule: Schedule,
    forward: Callable[[torch.Tensor], torch.Tensor],
    low: np.ndarray[Any, np.dtype[np.float32]],
    high: np.ndarray[Any, np.dtype[np.float32]],
    device: str,
) -> float:
    state.iteration += 1
    for group in state.optimizer.param_groups:
        group["lr"] = _learning_rate(schedule, state.iteration)
    output = forward(torch.from_numpy(low).to(device))
    loss = (output - torch.from_numpy(high).to(device)).square().mean()
    state.optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]  # torch ships it untyped
    state.optimizer.step()
    # A short memory at first, so that the average forgets the initial weights.
    decay = min(EMA_DECAY, state.iteration / (state.iteration + 10))
    with torch.no_grad():
        for average, current in zip(
            state.average.parameters(), state.network.parameters(), strict=True
        ):
            average.lerp_(current, 1 - decay)
    return float(loss.item())


@torch.inference_mode()
def _validate(network: Fsrcnn, pairs: list[Pair], scale: int, device: str) -> float:
    values = []
    for pair in pairs:
        output = network(torch.from_numpy(pair.low)[None, None].to(device))[0, 0].cpu().numpy()
        error = np.clip(np.rint(output * 255), 0, 255) - np.rint(pair.high * 255)
        inner = error[scale:-scale, scale:-scale]
        values.append(psnr_of(float(np.mean(np.square(inner)))))
    return float(np.mean(values))


def _save(state: _State, path: Path, schedule: Schedule) -> None:
    content = {
        "schedule": asdict(schedule),
        "iteration": state.iteration,
        "history": [asdict(progress) for progress in state.history],
        "network": state.network.state_dict(),
        "ema_state_dict": state.average.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "random": state.random.bit_generator.state,
    }
    stream = io.BytesIO()
    torch.save(content, stream)
    storage.write_bytes(str(path), stream.getvalue())


def _resume(state: _State, path: Path, schedule: Schedule) -> None:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises anything from EOFError to RuntimeError here
        raise ModelError(f"{path}: damaged; delete it to train from the start") from error
    # A checkpoint of an older version lacks the options that came later.
    if Schedule(**content["schedule"]) != schedule:
        raise ConfigError(
            f"{path}: made with the options {content['schedule']}; give the same options, "
            "or another --output"
        )
    state.network.load_state_dict(content["network"])
    state.average.load_state_dict(content["ema_state_dict"])
    state.optimizer.load_state_dict(content["optimizer"])
    state.random.bit_generator.state = content["random"]
    state.iteration = content["iteration"]
    state.history = [Progress(**line) for line in content["history"]]


def _finish(state: _State, output: Path, schedule: Schedule) -> Path:
    if schedule.half_precision:
        state.average.round_convolutions()
    weights = keep_flat(weights_of(state.average))
    target = output / f"fsrcnn_x{schedule.scale}.safetensors"
    save_weights(weights, target)
    export_onnx(weights, target.with_suffix(".onnx"))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["iteration", "loss", "validation_psnr"])
    writer.writerows(
        [line.iteration, f"{line.loss:.6g}", f"{line.validation_psnr:.4f}"]
        for line in state.history
    )
    history = output / f"history_x{schedule.scale}.csv"
    storage.write_bytes(str(history), text.getvalue().encode())
    draw_curve(state.history, output / f"training_x{schedule.scale}.png")
    return target


def draw_curve(history: list[Progress], path: Path) -> None:
    """Draws loss and validation PSNR over the iterations as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, left = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    iterations = [progress.iteration for progress in history]
    left.plot(iterations, [progress.loss for progress in history], color="tab:gray", label="loss")
    left.set(xlabel="iteration", ylabel="training loss (MSE)", yscale="log")
    right = left.twinx()
    right.plot(iterations, [progress.validation_psnr for progress in history], color="tab:blue")
    right.set_ylabel("validation PSNR (dB)", color="tab:blue")
    stream = io.BytesIO()
    figure.savefig(stream, dpi=100, format="png")
    storage.write_bytes(str(path), stream.getvalue())
    pyplot.close(figure)
