"""The command line as a program: files written, output and exit codes."""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from superres import __version__
from superres.cli.main import execute
from superres.cli.networks import Engines
from superres.imaging.decoding import decode_file
from superres.imaging.limits import Limits
from superres.imaging.names import utf8_alias
from superres.imaging.png import encode_png_bytes
from superres.models import default_model_path
from superres.network.engine import make_engine
from superres.network.upscaling import upscale_image
from superres.network.weights import load_weights, save_weights
from superres.pipeline.config import Processing
from superres.pipeline.output_folder import read_manifest
from superres.pipeline.records import Scale
from tests.support import tiff_files
from tests.support.image_files import photo, pillow
from tests.support.networks import random_weights
from tests.support.unusual_files import LONG, NO_FILES, NOT_UTF8, make_no_files

LIMITS = Limits(1 << 28, 100_000_000)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make(name: str, height: int = 24, width: int = 31, channels: int = 3, seed: int = 0) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = {".gif": "GIF", ".bmp": "BMP", ".png": "PNG"}.get(path.suffix.lower(), "JPEG")
    path.write_bytes(pillow(photo(height, width, channels, seed=seed), kind))
    return path


def pixels(path: str | Path) -> np.ndarray:
    return decode_file(Path(path), LIMITS).planes()


def files(path: str = ".") -> list[str]:
    """All files below a folder, without the manifest of results and its lock."""
    return sorted(
        str(file.relative_to(path))
        for file in Path(path).rglob("*")
        if file.is_file() and "superres-results" not in file.name
    )


def upscaled(path: Path, scale: Scale, patch_size: int = 512) -> np.ndarray:
    engine = Engines(Processing(upscale_factor=scale)).for_file(path)
    strips = upscale_image(decode_file(path, LIMITS), patch_size, engine)
    return np.concatenate(list(strips), axis=1)


# ---- the command itself


def test_help_lists_the_commands_and_each_has_an_example(capsys):
    assert execute(["--help"]) == 0
    listed = capsys.readouterr().out
    for command in ("upscale", "evaluate", "compare", "train", "export"):
        assert f"  {command} " in listed
        assert execute([command, "--help"]) == 0
        assert f"Example: superres {command} " in capsys.readouterr().out


def test_version(capsys):
    assert execute(["--version"]) == 0
    assert capsys.readouterr().out == f"superres {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["upscale"],
        ["upscale", "a.png", "--scale", "5"],
        ["upscale", "a.png", "--patch-size", "3"],
        ["evaluate", "absent"],
        ["evaluate", ".", "--model", "m.pth"],
        ["compare", "absent.png"],
        ["train"],
    ],
)
def test_wrong_usage_returns_2_and_prints_the_usage(arguments, capsys):
    assert execute(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "Usage: superres" in printed.err
    assert "Error: " in printed.err


def test_an_error_is_one_line(capsys):
    make("a.png")
    Path("bad.yaml").write_text("processing: {upscale_factor: 7}")
    for arguments, reason in (
        (["--config", "bad.yaml"], "upscale_factor"),
        (["--config", "absent.yaml"], "absent.yaml: no such configuration file"),
        (["--model", "absent.pth"], "absent.pth: no such checkpoint"),
        (["--output", "a.png/large"], "a.png/large: Not a directory"),
    ):
        assert execute(["upscale", "a.png", *arguments]) == 1
        printed = capsys.readouterr().err
        assert printed.startswith("superres: ")
        assert reason in printed
        assert printed.count("\n") == 1


def test_ctrl_c_returns_130_and_leaves_no_half_file(monkeypatch, capsys):
    make("a.png")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("superres.network.upscaling.upscale_tiles", interrupted)
    assert execute(["upscale", "a.png", "--output", "large"]) == 130
    assert capsys.readouterr().err.strip() == "superres: stopped"
    assert files() == ["a.png"]


# ---- upscale


def test_upscale_writes_what_the_network_makes_of_each_image(capsys):
    one, two = make("in/one.png", 40, 33), make("in/two.jpg", 20, 50, 1)
    Path("in/notes.txt").write_text("no image, and not meant")
    make("in/deeper/three.png")
    assert (
        execute(["upscale", "in", "--scale", "3", "--output", "large", "--patch-size", "16"]) == 0
    )
    assert files("large") == ["one_x3.png", "two_x3.png"]
    np.testing.assert_array_equal(pixels("large/one_x3.png"), upscaled(one, 3, 16))
    np.testing.assert_array_equal(pixels("large/two_x3.png"), upscaled(two, 3, 16))
    printed = capsys.readouterr()
    assert printed.out.split() == ["large/one_x3.png", "large/two_x3.png"]
    assert printed.err.startswith("2 images upscaled in ")
    assert "fsrcnn_x3.safetensors" in printed.err


def test_upscale_keeps_sixteen_bits_and_transparency():
    planes = np.moveaxis(photo(20, 20, 4, 16), -1, 0)
    Path("a.png").write_bytes(encode_png_bytes(np.ascontiguousarray(planes)))
    assert execute(["upscale", "a.png"]) == 0
    result = pixels("a_x2.png")
    assert (result.dtype.name, result.shape) == ("uint16", (4, 40, 40))
    assert np.unique(result % 257).size > 100


def test_upscale_can_write_greyscale():
    make("a.png")
    assert execute(["upscale", "a.png", "--grayscale"]) == 0
    assert pixels("a_x2.png").shape == (1, 48, 62)


def test_upscale_tells_of_further_pages_and_takes_the_one_that_is_asked_for(capsys):
    pages = [photo(20, 24, seed=seed) for seed in range(2)]
    Path("scan.tif").write_bytes(tiff_files.write(*map(tiff_files.Page, pages)))
    assert execute(["upscale", "scan.tif"]) == 0
    assert capsys.readouterr().err.splitlines()[0] == (
        "superres: scan.tif: page 1 of 2 is taken; superres upscale --page N takes another"
    )
    assert execute(["upscale", "scan.tif", "--page", "2"]) == 0
    assert "is taken" not in capsys.readouterr().err
    assert execute(["upscale", "scan.tif", "--page", "3"]) == 1
    reason = "scan.tif: the TIFF has 2 pages, so there is no page 3"
    assert reason in capsys.readouterr().err
    assert files() == ["scan-page2_x2.png", "scan.tif", "scan_x2.png"]
    for name, page in (("scan_x2.png", pages[0]), ("scan-page2_x2.png", pages[1])):
        reduced = pixels(name).reshape(3, 20, 2, 24, 2).mean((2, 4))
        assert np.abs(reduced - np.moveaxis(page, -1, 0)).mean() < 3


def test_upscale_reports_unreadable_images_and_upscales_the_rest(capsys):
    make("in/a.png")
    Path("in/broken.png").write_bytes(make("b.png").read_bytes()[:600])
    Path("in/text.jpg").write_text("hello")
    assert execute(["upscale", "in", "absent.png", "--output", "large"]) == 1
    assert files("large") == ["a_x2.png"]
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("superres: in/broken.png: the PNG data is truncated")
    assert lines[1].startswith("superres: in/text.jpg: not an image")
    assert lines[2].startswith("superres: cannot read absent.png")
    assert lines[3].startswith("1 image upscaled")
    assert "3 left out" in lines[3]


def test_images_with_equal_names_get_different_results():
    make("in/a.png", seed=1)
    make("in/a.jpg", seed=2)
    make("other/A.png", seed=3)
    assert execute(["upscale", "in", "in/a.png", "other", "--output", "large"]) == 0
    # A.png_x2.png would be the same file as a.png_x2.png on some file systems.
    assert len(files("large")) == 3
    assert re.fullmatch(r"A\.png-[0-9a-f]{8}_x2\.png", files("large")[0])
    assert files("large")[1:] == ["a.png_x2.png", "a_x2.png"]
    np.testing.assert_array_equal(pixels("large/a.png_x2.png"), upscaled(Path("in/a.png"), 2))


def test_a_result_does_not_depend_on_what_was_added_beside_its_source():
    make("in/b.jpg", seed=1)
    assert execute(["upscale", "in", "--output", "large"]) == 0
    first = Path("large/b_x2.png").read_bytes()
    make("in/b.bmp", seed=2)  # comes first by name
    assert execute(["upscale", "in", "--output", "large"]) == 0
    assert files("large") == ["b.bmp_x2.png", "b_x2.png"]
    assert Path("large/b_x2.png").read_bytes() == first
    np.testing.assert_array_equal(pixels("large/b.bmp_x2.png"), upscaled(Path("in/b.bmp"), 2))


def test_no_input_is_overwritten():
    make("a.png")
    earlier = make("a_x2.png", 5, 5).read_bytes()
    assert execute(["upscale", "a.png", "a_x2.png"]) == 0
    assert Path("a_x2.png").read_bytes() == earlier
    assert files() == ["a.png", "a.png_x2.png", "a_x2.png", "a_x2_x2.png"]


def test_no_file_of_somebody_else_is_overwritten():
    make("a.png")
    Path("large").mkdir()
    earlier = make("large/a_x2.png", 5, 5).read_bytes()
    assert execute(["upscale", "a.png", "--output", "large"]) == 0
    assert Path("large/a_x2.png").read_bytes() == earlier
    assert files("large") == ["a.png_x2.png", "a_x2.png"]


def test_results_are_not_upscaled_again(capsys):
    make("a.png")
    for _ in range(2):
        assert execute(["upscale", "."]) == 0
        assert capsys.readouterr().out == "a_x2.png\n"
    assert execute(["upscale", "a.png", "a_x2.png"]) == 0
    assert "them as results: a_x2.png" in capsys.readouterr().err
    assert files() == ["a.png", "a_x2.png"]
    assert execute(["upscale", "a_x2.png"]) == 1
    assert "superres: nothing is left to upscale; give images" in capsys.readouterr().err


def test_the_manifest_says_what_a_result_was_made_of(capsys):
    source = make("in/a.jpg")
    assert execute(["upscale", "in", "--grayscale", "--output", "large"]) == 0
    (result,) = read_manifest(Path("large")).results.values()
    assert result.source == str(source.resolve())
    assert result.source_sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    assert result.settings.scale == 2
    assert result.settings.recipe.members == {"grayscale": True}
    assert f" {result.settings.model_digest[:12]}\n" in capsys.readouterr().err


def test_a_damaged_manifest_is_one_line(capsys):
    make("a.png")
    Path("superres-results.json").write_text("{")
    assert execute(["upscale", "a.png"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("superres: superres-results.json: not readable: Invalid JSON")
    assert files() == ["a.png"]


def test_unusual_names_are_upscaled(capsys):
    content = make("a.jpg").read_bytes()
    names = {**LONG, "not UTF-8": NOT_UTF8, "two lines": "two\nlines.jpg"}.values()
    Path("in").mkdir()
    for name in names:
        Path("in", name).write_bytes(content)
    Path("in", NOT_UTF8).with_suffix(".webp").write_bytes(pillow(photo(9, 9), "WEBP"))
    assert execute(["upscale", "in", "--output", "large"]) == 0
    printed = capsys.readouterr()
    assert len(printed.err.splitlines()) == 1
    lines = printed.out.splitlines()
    assert len(lines) == len(files("large")) == len(names) + 1
    assert {r"large/caf\xe9_x2.png", r"large/caf\xe9.webp_x2.png", r"large/two\nlines_x2.png"} < {
        *lines
    }
    expected = upscaled(Path("a.jpg"), 2)
    for name in names:
        if len(name.encode(errors="surrogateescape")) < 249:
            result = Path("large", name).with_suffix("")
            with utf8_alias(Path(f"{result}_x2.png")) as readable:
                np.testing.assert_array_equal(pixels(readable), expected)


def test_what_is_no_file_is_reported_and_the_rest_is_upscaled(capsys):
    make("in/a.png")
    make_no_files(Path("in"))
    assert execute(["upscale", "in", "--output", "large"]) == 0
    lines = capsys.readouterr().err.splitlines()
    expected = [f"superres: in/{name}: left out: {reason}" for name, reason in NO_FILES.items()]
    assert lines[:-1] == expected
    assert lines[-1].startswith("1 image upscaled")
    given = [f"in/{name}" for name in NO_FILES]
    assert execute(["upscale", *given, "in/a.png", "--output", "large"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[:-1] == [
        f"superres: cannot read in/{name}: {reason}; check the path and its permissions"
        for name, reason in NO_FILES.items()
    ]
    assert files("large") == ["a_x2.png"]


def test_images_of_other_formats_in_a_folder_are_named(capsys):
    make("in/a.jfif")
    make("in/b.jpe")
    Path("in/c.HEIC").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0")
    assert execute(["upscale", "in", "--output", "large"]) == 0
    assert files("large") == ["a_x2.png", "b_x2.png"]
    assert " can be read; convert these: c.HEIC" in capsys.readouterr().err


def test_results_can_be_printed_in_any_encoding():
    Path(NOT_UTF8).write_bytes(make("写.jpg").read_bytes())
    command = [str(Path(sys.executable).with_name("superres")), "upscale", NOT_UTF8, "写.jpg"]
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    done = subprocess.run(command, env=environment, capture_output=True, check=True, timeout=120)
    assert done.stdout.decode("latin-1").splitlines() == [r"caf\xe9_x2.png", r"\u5199_x2.png"]


def test_a_second_run_replaces_what_the_first_wrote():
    make("a.png")
    assert execute(["upscale", "a.png", "--output", "large"]) == 0
    make("a.png", seed=9)
    assert execute(["upscale", "a.png", "--output", "large"]) == 0
    assert files("large") == ["a_x2.png"]
    np.testing.assert_array_equal(pixels("large/a_x2.png"), upscaled(Path("a.png"), 2))


def test_a_folder_without_images_is_an_error(capsys):
    Path("empty").mkdir()
    assert execute(["upscale", "empty"]) == 1
    assert "empty: no images there" in capsys.readouterr().err


def test_defaults_come_from_the_configuration_and_options_override_them(monkeypatch, capsys):
    make("a.png")
    save_weights(random_weights(3), Path("own.safetensors"))
    Path("config.yaml").write_text(
        "processing: {upscale_factor: 3, model_path: own.safetensors, grayscale: true}"
    )
    assert execute(["upscale", "a.png"]) == 0
    assert "own.safetensors" in capsys.readouterr().err
    assert pixels("a_x3.png").shape == (1, 72, 93)
    # the configured checkpoint is for scale 3
    assert execute(["upscale", "a.png", "--scale", "4"]) == 0
    assert "fsrcnn_x4.safetensors" in capsys.readouterr().err
    monkeypatch.setenv("SUPERRES_PROCESSING__GRAYSCALE", "false")
    assert execute(["upscale", "a.png"]) == 0
    assert pixels("a_x3.png").shape == (3, 72, 93)


def test_a_checkpoint_of_another_scale_is_refused(capsys):
    make("a.png")
    save_weights(random_weights(3), Path("own.safetensors"))
    assert execute(["upscale", "a.png", "--model", "own.safetensors"]) == 1
    assert "trained for scale 3, not 2" in capsys.readouterr().err


# ---- evaluate


def test_evaluate_prints_means_for_every_folder_and_scale(capsys):
    make("one/a.png", 60, 60)
    make("one/b.png", 50, 70, seed=1)
    make("two/c.png", 60, 60, 1)
    assert execute(["evaluate", "one", "two"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if "×" in line]
    assert [row[:3] for row in rows] == [
        [name, f"×{scale}", count]
        for scale in (2, 3, 4)
        for name, count in (("one", "2"), ("two", "1"))
    ]


def test_evaluate_shows_each_image_on_demand(capsys):
    make("one/a.png", 60, 60)
    make("one/tiny.png", 5, 5)
    assert execute(["evaluate", "one", "--details", "--scale", "2"]) == 1  # one is left out
    printed = capsys.readouterr()
    assert "  a.png" in printed.out
    assert "one/tiny.png: skipped: 5 × 5 pixels are too few" in printed.err


def test_evaluate_prints_json(capsys):
    make("one/a.png", 61, 60)
    assert execute(["evaluate", "one", "--scale", "3", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["protocol"] == "bt601-y/luma-first"
    assert printed["models"]["3"].startswith("fsrcnn_x3.safetensors ")
    (result,) = printed["results"]
    (image,) = result["images"]
    assert (image["name"], image["width"], image["height"]) == ("a.png", 60, 60)
    assert result["ours"] == image["ours"]
    assert result["bicubic"]["psnr"] > 10
    assert 0 < result["bicubic"]["ssim"] < 1


def test_evaluate_measures_jpeg_input(capsys):
    make("one/a.png", 60, 60)
    found = {}
    for quality in (None, 90, 10):
        given = ["--jpeg-quality", str(quality)] if quality else []
        assert execute(["evaluate", "one", "--scale", "2", "--json", *given]) == 0
        printed = json.loads(capsys.readouterr().out)
        assert printed["jpeg_quality"] == quality
        found[quality] = printed["results"][0]["bicubic"]["psnr"]
    assert found[None] > found[90] > found[10]
    assert execute(["evaluate", "one", "--scale", "2", "--jpeg-quality", "90"]) == 0
    assert "Protocol bt601-y/luma-first, JPEG of quality 90; models" in capsys.readouterr().out


def test_evaluate_ignores_hidden_files_and_folders_with_image_names(capsys):
    make("one/a.png", 60, 60)
    make("one/.hidden.png", 5, 5)
    Path("one/folder.png").mkdir()
    assert execute(["evaluate", "one", "--scale", "2"]) == 0
    assert capsys.readouterr().err == ""


def test_evaluate_fails_when_nothing_could_be_measured(capsys):
    make("one/tiny.png", 5, 5)
    assert execute(["evaluate", "one", "--json"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines()[-1].startswith("superres: no image could be measured")


# ---- compare


def test_compare_writes_a_page(capsys):
    make("a.png", 30, 40)
    assert execute(["compare", "a.png", "--scale", "3"]) == 0
    page = Path("a_x3.html").read_text("utf-8")
    assert "<title>a.png ×3</title>" in page
    assert "120 × 90 (×3)" in page
    assert "PSNR" not in page
    assert capsys.readouterr().out.startswith("a_x3.html (0.")


def test_compare_measures_against_an_original_or_its_own_reduction(capsys):
    make("low.png", 30, 40)
    make("high.png", 61, 81)
    assert execute(["compare", "low.png", "--original", "high.png", "--output", "out/1.html"]) == 0
    assert execute(["compare", "high.png", "--as-original", "--output", "out/2.html"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("PSNR") == 2
    for page in ("out/1.html", "out/2.html"):
        assert "PSNR" in Path(page).read_text("utf-8")


def test_compare_refuses_an_original_that_does_not_fit(capsys):
    make("low.png", 30, 40)
    assert execute(["compare", "low.png", "--original", "low.png"]) == 1
    assert "low.png upscaled ×2 has 80 × 60" in capsys.readouterr().err
    assert execute(["compare", "low.png", "--original", "low.png", "--as-original"]) == 2
    assert files() == ["low.png"]


# ---- train


@pytest.fixture
def few_images():
    for seed in range(3):
        make(f"data/{seed}.png", 48, 48, seed=seed)


TRAINING = ["train", "--data", "data", "--iterations", "4", "--batch", "2", "--patch", "8"]
TRAINING += ["--check-every", "2", "--output", "out"]


@pytest.mark.slow
def test_train_writes_weights_that_upscale_takes(few_images, capsys):
    assert execute(TRAINING) == 0
    printed = capsys.readouterr()
    assert printed.out == "out/fsrcnn_x2.safetensors\n"
    assert [line.partition(":")[0] for line in printed.err.splitlines()] == [
        "iteration 2 of 4",
        "iteration 4 of 4",
    ]
    assert "validation PSNR" in printed.err
    assert execute(["upscale", "data/0.png", "--model", "out/fsrcnn_x2.safetensors"]) == 0


@pytest.mark.slow
def test_train_prints_how_to_resume_and_resumes(few_images, monkeypatch, capsys):
    from superres.cli.train import TrainingBar

    report = TrainingBar.report

    def interrupted(self, iteration, loss, progress):
        report(self, iteration, loss, progress)
        if iteration == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(TrainingBar, "report", interrupted)
        assert execute(TRAINING) == 130
    assert capsys.readouterr().err.splitlines()[-1] == (
        "superres: stopped after the validation of iteration 2; run the same command to resume"
    )
    assert execute(TRAINING) == 0
    assert capsys.readouterr().err.startswith("iteration 4 of 4")
    assert execute([*TRAINING, "--seed", "1"]) == 1
    assert "give the same options, or another --output" in capsys.readouterr().err


@pytest.mark.slow
def test_train_takes_jpeg_qualities(few_images, capsys):
    assert execute([*TRAINING, "--jpeg", "70-85", "--half-precision"]) == 0
    assert execute([*TRAINING, "--jpeg", "71-85", "--half-precision"]) == 1
    assert "'qualities': (70, 85)" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", ["85-70", "0-50", "70-101", "good", "70-", "-70"])
def test_train_refuses_what_are_no_jpeg_qualities(wrong, few_images, capsys):
    assert execute([*TRAINING, f"--jpeg={wrong}"]) == 2
    printed = capsys.readouterr().err
    assert f"'{wrong}' is not two qualities from 1 to 100, as in 70-85" in printed


def test_train_without_torch_prints_what_to_install(few_images, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert execute(TRAINING) == 1
    printed = capsys.readouterr().err
    assert printed == (
        "superres: train needs torch, which is not installed; install superres[train]\n"
    )


# ---- commands of other packages


@pytest.fixture
def plugin(folder, monkeypatch):
    """A package that is installed and adds the command ``greet``."""
    metadata = folder / "site" / "greeting-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[superres.commands]\ngreet = greeting:greet\n")
    module = metadata.parent / "greeting.py"
    module.write_text(
        "import click\n"
        "@click.command()\n"
        "@click.argument('name')\n"
        "def greet(name):\n"
        "    '''Says hello.'''\n"
        "    click.echo(f'hello {name}')\n"
    )
    monkeypatch.syspath_prepend(str(metadata.parent))
    yield module
    sys.modules.pop("greeting", None)


def test_an_installed_package_can_add_a_command(plugin, capsys):
    assert execute(["--help"]) == 0
    assert re.search(r"greet +Says hello\.", capsys.readouterr().out)
    assert "greeting" not in sys.modules  # listing it does not load it
    assert execute(["greet", "you"]) == 0
    assert capsys.readouterr().out == "hello you\n"
    assert execute(["greet"]) == 2


def test_a_command_whose_library_is_missing_prints_what_to_install(plugin, capsys):
    plugin.write_text("import a_library_that_nobody_has\n")
    assert execute(["--help"]) == 0
    assert "greet" in capsys.readouterr().out
    for arguments in (["greet"], ["greet", "--help"], ["greet", "you", "--loudly"]):
        assert execute(arguments) == 1
        assert capsys.readouterr().err == (
            "superres: greet needs a_library_that_nobody_has, which is not installed; "
            "install superres[greet]\n"
        )


# ---- export


@pytest.mark.parametrize("arguments", [[], ["--output", "own/other.onnx"]])
def test_the_exported_network_gives_the_pixels_of_upscale(arguments, capsys):
    make("a.png", 20, 31)
    Path("own").mkdir()
    assert execute(["export", "--scale", "3", *arguments]) == 0
    written = arguments[1] if arguments else "fsrcnn_x3_rgb.onnx"
    assert capsys.readouterr().out == f"{written}\n"
    session = onnxruntime.InferenceSession(written, providers=["CPUExecutionProvider"])
    low = pixels("a.png")
    (high,) = session.run(None, {"low": low[np.newaxis]})
    expected = upscaled(Path("a.png"), 3)
    assert np.abs(high[0].astype(int) - expected).max() <= 1  # a rounding tie


def test_a_model_of_another_scale_is_not_exported(capsys):
    assert execute(["export", "--scale", "3", "--model", str(default_model_path(2))]) == 1
    assert "trained for scale 2, not 3" in capsys.readouterr().err
    assert not Path("fsrcnn_x3_rgb.onnx").exists()


def test_the_network_for_jpeg_is_exported(capsys):
    assert execute(["export", "--scale", "2", "--jpeg-quality", "75"]) == 0
    assert capsys.readouterr().out == "fsrcnn_x2_jpeg-66-83_rgb.onnx\n"
    assert execute(["export", "--jpeg-quality", "75", "--model", "own.pth", "--scale", "2"]) == 2
    assert "cannot be combined" in capsys.readouterr().err


# ---- photographs saved as JPEG


@pytest.mark.parametrize(
    ("arguments", "models"),
    [
        ([], ["fsrcnn_x2_jpeg-66-83.safetensors", "fsrcnn_x2.safetensors"]),
        (["--restore", "off"], ["fsrcnn_x2.safetensors"]),
        (["--restore", "40"], ["fsrcnn_x2_jpeg-10-45.safetensors"]),
        (["--model", str(default_model_path(2))], ["fsrcnn_x2.safetensors"]),
    ],
)
def test_each_photograph_gets_the_network_for_its_quality(arguments, models, capsys):
    Path("a.jpg").write_bytes(pillow(photo(24, 31, 3), "JPEG", quality=75))
    make("b.png")
    assert (
        execute(["upscale", "a.jpg", "b.png", "--scale", "2", "--output", "out", *arguments]) == 0
    )
    named = re.findall(r"fsrcnn_\S+", capsys.readouterr().err)
    assert named == models
    restore = {"--restore": arguments[-1]}.get(arguments[0]) if arguments else "auto"
    network = {"auto": "jpeg-66-83", "40": "jpeg-10-45"}.get(str(restore), "clean")
    engine = make_engine(load_weights(default_model_path(2, network), 2))
    strips = upscale_image(decode_file(Path("a.jpg"), LIMITS), 512, engine)
    assert np.array_equal(pixels("out/a_x2.png"), np.concatenate(list(strips), axis=1))


def test_a_jpeg_without_tables_is_reported_and_its_neighbour_done(capsys):
    whole = pillow(photo(24, 31, 3), "JPEG", quality=75)
    at = whole.find(b"\xff\xdb")
    size = 2 + int.from_bytes(whole[at + 2 : at + 4])
    Path("in").mkdir()
    Path("in/a.jpg").write_bytes(whole[:at] + whole[at + size :])
    Path("in/b.jpg").write_bytes(whole)
    for restore in ("auto", "off", "75"):
        assert execute(["upscale", "in", "--scale", "2", "--output", "out", "--restore", restore])
        assert "in/a.jpg" in capsys.readouterr().err
        assert files("out") == ["b_x2.png"]


def test_the_configuration_counts_for_export_and_evaluate(capsys):
    Path("config.yaml").write_text("processing: {restore: 75}\nevaluate: {jpeg_quality: 40}")
    assert execute(["export", "--scale", "2"]) == 0
    assert capsys.readouterr().out == "fsrcnn_x2_jpeg-66-83_rgb.onnx\n"
    make("one/a.png", 40, 48)
    assert execute(["evaluate", "one", "--scale", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["jpeg_quality"] == 40
    own = default_model_path(2, "jpeg-10-45")
    Path("config.yaml").write_text(f"processing: {{model_path: '{own}'}}")
    assert execute(["export", "--scale", "2", "--jpeg-quality", "75"]) == 2
    assert "cannot be combined with a model (--model, model_path)" in capsys.readouterr().err


def test_a_strength_that_is_none_is_refused(capsys):
    make("a.png")
    assert execute(["upscale", "a.png", "--restore", "strong"]) == 2
    assert "'strong' is not auto, off or a quality from 1 to 100" in capsys.readouterr().err


def test_evaluate_chooses_the_network_for_the_quality(capsys):
    make("one/a.png", 40, 48)
    measured = ["evaluate", "one", "--scale", "2", "--json"]
    names = {}
    for given in ([], ["--jpeg-quality", "75"], ["--jpeg-quality", "75", "--restore", "off"]):
        assert execute([*measured, *given]) == 0
        names[" ".join(given)] = json.loads(capsys.readouterr().out)["models"]["2"].split()[0]
    assert list(names.values()) == [
        "fsrcnn_x2.safetensors",
        "fsrcnn_x2_jpeg-66-83.safetensors",
        "fsrcnn_x2.safetensors",
    ]
