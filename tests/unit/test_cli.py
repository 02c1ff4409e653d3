"""The command line as a program: files written, output and exit codes."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from superres import __version__
from superres.cli.main import execute
from superres.models import default_model_path
from tests.support.commands import files, make, pixels, upscaled

pytestmark = pytest.mark.usefixtures("folder")


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
    assert execute(["evaluate", "one", "--details", "--scale", "2"]) == 3  # one is left out
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
@pytest.mark.parametrize(("ended", "code"), [(KeyboardInterrupt(), 130), (SystemExit(143), 143)])
def test_train_prints_how_to_resume_and_resumes(ended, code, few_images, monkeypatch, capsys):
    from superres.cli.train import TrainingBar

    report = TrainingBar.report

    def interrupted(self, iteration, loss, progress):
        report(self, iteration, loss, progress)
        if iteration == 3:
            raise ended

    with monkeypatch.context() as patched:
        patched.setattr(TrainingBar, "report", interrupted)
        assert execute(TRAINING) == code
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
