"""`superres upscale`: files written, output and exit codes; also which network each image gets."""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from superres.cli.main import execute
from superres.imaging.decoding import decode_file
from superres.imaging.names import utf8_alias
from superres.imaging.png import encode_png_bytes
from superres.models import default_model_path
from superres.network.engine import make_engine
from superres.network.upscaling import upscale_image
from superres.network.weights import load_weights, save_weights
from superres.pipeline.output_folder import read_manifest
from tests.support import tiff_files
from tests.support.commands import LIMITS, files, make, pixels, upscaled
from tests.support.image_files import photo, pillow
from tests.support.networks import random_weights
from tests.support.unusual_files import LONG, NO_FILES, NOT_UTF8, make_no_files

pytestmark = pytest.mark.usefixtures("folder")


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


def test_upscale_remarks_on_further_pages_and_takes_the_one_that_is_asked_for(capsys):
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
    assert execute(["upscale", "in", "absent.png", "--output", "large"]) == 3
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
    assert execute(["upscale", *given, "in/a.png", "--output", "large"]) == 3
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
