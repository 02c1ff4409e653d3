"""Configuration: defaults, the environment, and one line for every mistake."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from superres.errors import ConfigError, StorageError
from superres.imaging.limits import Limits
from superres.models import SCALES
from superres.pipeline.config import Settings
from superres.pipeline.config_file import load_settings, validated
from superres.pipeline.environment import OTHERS
from tests.support.paths import ROOT

STABLE = settings(derandomize=True, deadline=None, max_examples=40)


def load(tmp_path: Path, text: str | bytes, **environment: str) -> Settings:
    path = tmp_path / "config.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_settings(str(path), environment)


def reason(tmp_path: Path, text: str | bytes, **environment: str) -> str:
    """The one-line error for a configuration."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, **environment)
    message = str(caught.value)
    assert "\n" not in message
    return message


# ---- what is right


def test_the_file_at_the_root_has_all_defaults():
    path = ROOT / "config.yaml"
    assert load_settings(str(path), {}) == Settings()
    written = yaml.safe_load(path.read_text())
    assert written == Settings().model_dump(mode="json"), "every key, none forgotten, none changed"


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "{}", "processing: {}"])
def test_keys_that_are_absent_have_their_defaults(text, tmp_path):
    assert load(tmp_path, text) == Settings()
    assert load_settings(None, {}) == Settings()


def test_keys_in_the_file_override_the_defaults(tmp_path):
    loaded = load(tmp_path, "processing: {upscale_factor: 4}\ndataset: {patches_dir: 's3://b/p'}")
    assert loaded.processing.upscale_factor == 4
    assert loaded.dataset.patches_dir == "s3://b/p"
    assert loaded.dataset.low_resolution_dir == Settings().dataset.low_resolution_dir


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("PROCESSING__UPSCALE_FACTOR", "3", 3),
        ("PROCESSING__PATCH_SIZE", "64", 64),
        ("PROCESSING__GRAYSCALE", "true", True),
        ("PROCESSING__MAX_MEGAPIXELS", "0.5", 0.5),
        ("PROCESSING__DEVICE", "cuda", "cuda"),
        ("PROCESSING__MODEL_PATH", "s3://models/fsrcnn.pth.tar", "s3://models/fsrcnn.pth.tar"),
        ("PROCESSING__MODEL_PATH", "null", None),
        ("PROCESSING__RESTORE", "off", "off"),
        ("PROCESSING__RESTORE", "75", 75),
        ("EVALUATE__JPEG_QUALITY", "75", 75),
        ("DATASET__LOW_RESOLUTION_DIR", "/data/raw images", "/data/raw images"),
    ],
)
def test_the_environment_overrides_the_file(variable, text, value, tmp_path):
    file = "processing: {upscale_factor: 2, patch_size: 128, model_path: x.pth}"
    section, key = variable.lower().split("__")
    loaded = load(tmp_path, file, **{f"SUPERRES_{variable}": text})
    assert getattr(getattr(loaded, section), key) == value
    assert getattr(getattr(load_settings(None, {f"SUPERRES_{variable}": text}), section), key) == (
        value
    )


def test_other_variables_are_left_alone():
    environment = {"SUPERRES_LOCAL_DIR": "x", "PATH": "/bin", "OTHER_PROCESSING__DEVICE": "cuda"}
    assert load_settings(None, environment) == Settings()


def test_the_process_environment_is_read(monkeypatch):
    monkeypatch.setenv("SUPERRES_PROCESSING__UPSCALE_FACTOR", "4")
    from os import environ

    assert load_settings(None, environ).processing.upscale_factor == 4
    assert load_settings(None).processing.upscale_factor == 4


def test_limits_are_in_pixels_and_bytes(tmp_path):
    loaded = load(tmp_path, "processing: {max_megapixels: 1.5, max_megabytes: 2}")
    assert loaded.processing.limits == Limits(max_bytes=2 * 2**20, max_pixels=1_500_000)


@pytest.mark.parametrize("scale", SCALES)
def test_the_shipped_checkpoint_is_the_default(scale, tmp_path):
    assert Path(Settings().processing.checkpoint(scale)).is_file()
    loaded = load(tmp_path, f"processing: {{model_path: my.pth, upscale_factor: {scale}}}")
    assert loaded.processing.checkpoint(scale) == "my.pth"
    others = {loaded.processing.checkpoint(other) for other in SCALES if other != scale}
    assert "my.pth" not in others, "it was not trained for them"


def test_settings_do_not_change():
    with pytest.raises(ValidationError):
        setattr(Settings().processing, "patch_size", 3)  # noqa: B010 - mypy knows it is read-only


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("KAFKA__GROUP", "1", "1"),
        ("KAFKA__TOPIC", "on", "on"),
        ("KAFKA__ENABLED", "0", False),
        ("KAFKA__ENABLED", "no", False),
        ("PROCESSING__HALF_PRECISION", "1", True),
        ("PROCESSING__MAX_MEGAPIXELS", "1e3", 1000.0),
        ("PROCESSING__MODEL_PATH", "2026-01-31", "2026-01-31"),
        ("INGESTION__FILE_ROOTS", "[/a, /b]", ("/a", "/b")),
    ],
)
def test_the_text_of_a_variable_is_what_its_key_can_have(variable, text, value):
    section, key = variable.lower().split("__")
    loaded = load_settings(None, {f"SUPERRES_{variable}": text})
    assert getattr(getattr(loaded, section), key) == value


def test_numbers_with_an_exponent_are_numbers(tmp_path):
    loaded = load(tmp_path, "processing: {max_megapixels: 1e2, max_megabytes: 2.5E+1}")
    assert (loaded.processing.max_megapixels, loaded.processing.max_megabytes) == (100, 25)


def test_a_key_may_override_one_that_is_merged_in(tmp_path):
    text = "evaluate: {<<: {jpeg_quality: 3}, jpeg_quality: 4}"
    assert load(tmp_path, text).evaluate.jpeg_quality == 4


# ---- what is wrong: path, value, what is allowed


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("processing: {upscale_factor: 5}", ["processing.upscale_factor", "5", "2, 3 or 4"]),
        ("processing: {upscale_factor: '2'}", ["processing.upscale_factor", "'2'", "2, 3 or 4"]),
        ("processing: {patch_size: 8}", ["processing.patch_size", "8", "equal to 16"]),
        ("processing: {patch_size: 5000}", ["processing.patch_size", "5000", "equal to 2048"]),
        ("processing: {patch_size: 64.5}", ["processing.patch_size", "64.5", "integer"]),
        ("processing: {patch_size: [64]}", ["processing.patch_size", "[64]", "integer"]),
        ("processing: {patch_size:}", ["processing.patch_size", "None", "integer"]),
        ("processing: {grayscale: perhaps}", ["processing.grayscale", "perhaps", "boolean"]),
        ("processing: {device: gpu}", ["processing.device", "'gpu'", "'cpu' or 'cuda'"]),
        ("processing: {device: {a: [1]}}", ["processing.device", "{'a': [1]}", "'cpu' or 'cuda'"]),
        ("processing: {restore: on}", ["processing.restore", "True", "auto, off or a quality"]),
        ("processing: {restore: 101}", ["processing.restore", "101", "from 1 to 100"]),
        ("processing: {restore: strong}", ["processing.restore", "'strong'", "auto, off or"]),
        ("processing: {patch_size: true}", ["processing.patch_size", "True", "integer"]),
        ("processing: {patch_size: '64'}", ["processing.patch_size", "'64'", "integer"]),
        ("processing: {patch_size: 64.0}", ["processing.patch_size", "64.0", "integer"]),
        ("processing: {max_megabytes: true}", ["processing.max_megabytes", "True", "number"]),
        ("processing: {max_megabytes: '8'}", ["processing.max_megabytes", "'8'", "number"]),
        ("processing: {grayscale: 1}", ["processing.grayscale", "1", "boolean"]),
        ("processing: {grayscale: 'true'}", ["processing.grayscale", "'true'", "boolean"]),
        ("ingestion: {file_roots: /a}", ["ingestion.file_roots", "'/a'", "a list, as in [a, b]"]),
        ("ingestion: {file_roots: [/a, 3]}", ["ingestion.file_roots.1", "3", "string"]),
        ("evaluate: {jpeg_quality: 0}", ["evaluate.jpeg_quality", "0", "equal to 1"]),
        ("processing: {max_megapixels: 0}", ["processing.max_megapixels", "0", "greater than 0"]),
        ("processing: {max_megapixels: .inf}", ["processing.max_megapixels", "inf", "finite"]),
        ("processing: {max_megabytes: .nan}", ["processing.max_megabytes", "nan", "finite"]),
        ("dataset: {patches_dir: 3}", ["dataset.patches_dir", "3", "string"]),
        ("dataset: {patches_dir: ''}", ["dataset.patches_dir", "''", "local path or s3://"]),
        ("dataset: {patches_dir: 's3://'}", ["dataset.patches_dir", "'s3://'", "s3://bucket"]),
        ("dataset: {patches_dir: 's3a://b/p'}", ["dataset.patches_dir", "'s3a://b/p'", "or s3://"]),
        ("dataset: {patches_dir: 'hdfs://n/p'}", ["dataset.patches_dir", "'hdfs://n/p'"]),
        ("processing: {model_path: 'https://h/p'}", ["processing.model_path", "'https://h/p'"]),
        ('processing: {device: "a\\nb"}', ["processing.device", "'a\\nb'"]),
    ],
)
def test_an_error_names_a_wrong_value_and_what_is_allowed(text, parts, tmp_path):
    message = reason(tmp_path, text)
    assert message.startswith(f"{tmp_path / 'config.yaml'}: ")
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("text", "key", "allowed"),
    [
        ("proccessing: {}", "'proccessing'", "dataset, processing"),
        ("processing: {scale: 2}", "'processing.scale'", "upscale_factor, patch_size"),
        ("dataset: {input: x}", "'dataset.input'", "low_resolution_dir, patches_dir"),
        ("7: x", "'7'", "dataset, processing"),
        ("processing: {7: x}", "'processing.7'", "upscale_factor"),
        ("a: &a [*a]", "'a'", "dataset, processing"),
    ],
)
def test_an_error_names_an_unknown_key_and_the_known_ones(text, key, allowed, tmp_path):
    message = reason(tmp_path, text)
    assert f"unknown key {key}" in message
    assert allowed in message


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("proccessing: {}", "processing"),
        ("processing: {upscale_faktor: 2}", "upscale_factor"),
        ("ingestion: {allowed_host: []}", "allowed_hosts"),
    ],
)
def test_an_error_says_which_key_was_likely_meant(text, meant, tmp_path):
    assert f", did you mean '{meant}'; allowed here" in reason(tmp_path, text)


def test_nothing_is_suggested_for_what_is_like_no_key(tmp_path):
    assert "did you mean" not in reason(tmp_path, "processing: {zzz: 2}")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("processing: {}\nkafka: {}\nprocessing: {}", "line 3: key 'processing' is given twice"),
        ("kafka:\n  topic: a\n  group: b\n  'topic': c", "line 4: key 'topic' is given twice"),
        ('{"kafka": {"topic": "a", "topic": "a"}}', "line 1: key 'topic' is given twice"),
        ("a: [{b: 1, b: 2}]", "line 1: key 'b' is given twice, first in line 1; remove one"),
    ],
)
def test_a_key_that_is_given_twice_is_refused(text, fault, tmp_path):
    assert reason(tmp_path, text).startswith(f"{tmp_path / 'config.yaml'}: {fault}")


@pytest.mark.parametrize("value", ["3", "", "[1, 2]", "text", "true", "2026-01-31"])
@pytest.mark.parametrize("section", ["processing", "dataset"])
def test_a_section_that_is_no_mapping_is_named(section, value, tmp_path):
    message = reason(tmp_path, f"{section}: {value}")
    assert f"{section}: expected a section with keys among" in message
    assert message.endswith(f"got {yaml.safe_load(value)!r}" if value else "got None")


def test_an_error_names_every_mistake(tmp_path):
    message = reason(tmp_path, "processing: {patch_size: 1, x: 2}\ndataset: 3")
    for part in ("processing.patch_size", "'processing.x'", "dataset: expected"):
        assert part in message


@pytest.mark.parametrize("text", ["[]", "0", "false", "''", "words", "- processing"])
def test_a_file_without_sections_is_refused(text, tmp_path):
    assert "not a mapping" in reason(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        "a: b: c",
        "processing: [",
        "\tprocessing: 1",
        "!!python/object/apply:os.mkdir [executed]",
        "? [a]\n: b",
        "x: 2026-13-45",
        b"\x80\x00",
        b"\xff\xfe\x00a\xd8",
        "x: *nowhere",
    ],
    ids=repr,
)
def test_invalid_yaml_is_refused(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = reason(tmp_path, text)
    assert "not valid YAML" in message
    assert message.startswith(str(tmp_path / "config.yaml"))
    assert not (tmp_path / "executed").exists()


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"no such configuration file; give --config"):
        load_settings(str(tmp_path / "none.yaml"), {})
    with pytest.raises(ConfigError, match="no such configuration file"):
        load_settings(str(tmp_path), {})


@pytest.mark.parametrize(
    ("variable", "text", "fragment"),
    [
        ("SUPERRES_PROCESSING__UPSCALE_FACTOR", "four", "processing.upscale_factor"),
        ("SUPERRES_PROCESSING__DEVICE", "", "processing.device"),
        ("SUPERRES_PROCESSING__SCALE", "2", "unknown key 'processing.scale'"),
        ("SUPERRES_KAFCA__TOPIC", "x", "unknown key 'kafca'"),
        ("SUPERRES_DATASET__A__B", "x", "unknown key 'dataset.a__b'"),
        ("SUPERRES_PROCESSING__DEVICE", "[", "not valid YAML"),
        ("SUPERRES_INGESTION__THREADS", "true", "ingestion.threads"),
        ("SUPERRES_KAFKA__PORTS", "{a: 1, a: 2}", "key 'a' is given twice"),
        ("SUPERRES_PROCESSING__UPSCALE_FAKTOR", "2", "did you mean 'upscale_factor'"),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(variable, text, fragment, tmp_path):
    message = reason(tmp_path, "processing: {patch_size: 64}", **{variable: text})
    assert variable in message
    assert fragment in message


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("SUPERRES_PROCESSING_UPSCALE_FACTOR", "SUPERRES_PROCESSING__UPSCALE_FACTOR"),
        ("superres_processing__upscale_factor", "SUPERRES_PROCESSING__UPSCALE_FACTOR"),
        ("Superres_Notifier__Port", "SUPERRES_NOTIFIER__PORT"),
        ("SUPERRES_UPLOADTOKEN", "SUPERRES_UPLOAD_TOKEN"),
    ],
)
def test_a_variable_that_is_another_but_for_underscores_and_case_is_refused(variable, meant):
    with pytest.raises(ConfigError) as caught:
        load_settings(None, {variable: "3"})
    assert str(caught.value) == f"{variable}: no such variable; did you mean {meant}?"


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("SUPERRES_UPSCALE_FACTOR", "SUPERRES_PROCESSING__UPSCALE_FACTOR"),
        ("SUPERRES_MODEL_PATH", "SUPERRES_PROCESSING__MODEL_PATH"),
        ("SUPERRES_UPSCALE_FAKTOR", "SUPERRES_PROCESSING__UPSCALE_FACTOR"),
        ("SUPERRES_UPLOADS_TOKEN", "SUPERRES_UPLOAD_TOKEN"),
        ("SUPERRES_UPLOAD_TOKEN_FILE", "SUPERRES_UPLOAD_TOKEN"),
        ("SUPERRES_KAFKA_PASSWORD_FILE", "SUPERRES_KAFKA_PASSWORD"),
    ],
)
def test_a_variable_that_is_like_another_is_warned_about(variable, meant, caplog):
    assert load_settings(None, {variable: "4"}) == Settings()
    line = f"superres: {variable}: no such variable, so it has no effect; did you mean {meant}?"
    assert [record.getMessage() for record in caplog.records] == [line]


def test_what_kubernetes_says_of_services_is_left_out(caplog):
    address = "tcp://10.0.0.7:8001"
    of_services = {
        "SUPERRES_PORT": address,
        "SUPERRES_SERVICE_HOST": "10.0.0.7",
        "SUPERRES_NOTIFIER_PORT": address,
        "SUPERRES_NOTIFIER_SERVICE_HOST": "10.0.0.7",
        "SUPERRES_NOTIFIER_SERVICE_PORT": "8001",
        "SUPERRES_NOTIFIER_SERVICE_PORT_HTTP": "8001",
        "SUPERRES_NOTIFIER_PORT_8001_TCP": address,
        "SUPERRES_NOTIFIER_PORT_8001_TCP_ADDR": "10.0.0.7",
        "SUPERRES_KAFKA_PORT": address,
    }
    assert load_settings(None, of_services) == Settings()
    assert not caplog.records
    with pytest.raises(ConfigError, match="did you mean SUPERRES_NOTIFIER__PORT"):
        load_settings(None, {"SUPERRES_NOTIFIER_PORT": "8001"})


def test_a_variable_that_is_like_none_is_warned_about_once(caplog):
    for _ in range(2):
        assert load_settings(None, {"SUPERRES_ZZZ": "3"}) == Settings()
    line = "superres: SUPERRES_ZZZ: no such variable, so it has no effect; remove it"
    assert [record.getMessage() for record in caplog.records] == [line]


def test_every_variable_that_the_project_uses_is_known():
    suffixes = {".py", ".sh", ".tf", ".yaml", ""}
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    files = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    texts = [
        file.read_text(errors="replace")
        for file in files
        if file.suffix in suffixes and file.is_file() and file != Path(__file__)
    ]
    used = set(re.findall(r"\bSUPERRES_(?!\w*__)[A-Z0-9_]*[A-Z0-9]\b", "\n".join(texts)))
    assert used == OTHERS


def test_the_environment_is_not_blamed_for_the_file(tmp_path):
    environment = {"SUPERRES_PROCESSING__PATCH_SIZE": "64"}
    assert "SUPERRES_" not in reason(tmp_path, "processing: {device: x}", **environment)
    assert "SUPERRES_" not in reason(tmp_path, "processing: 3", **environment)


yaml_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["processing", "dataset", "device", "patch_size", "patches_dir", "x"])
            | st.integers(),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@STABLE
@given(content=st.dictionaries(st.sampled_from(["processing", "dataset", "x"]), yaml_values))
def test_any_content_is_accepted_or_refused_in_one_line(content):
    try:
        validated(content, "origin")
    except ConfigError as error:
        outcome = str(error)
    else:
        outcome = "origin: accepted"
    assert re.fullmatch(r"origin: .+", outcome)  # "." matches no line end


def test_an_unreadable_file_is_a_storage_error(tmp_path, monkeypatch):
    path = tmp_path / "config.yaml"
    path.touch()

    def refuse(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(StorageError, match=r"config\.yaml: cannot read: Permission denied"):
        load_settings(str(path), {})


@pytest.mark.parametrize("value", [True, False, "auto"])
def test_half_precision_is_on_off_or_auto(value, tmp_path):
    content = f"processing: {{half_precision: {str(value).lower()}}}"
    assert load(tmp_path, content).processing.half_precision == value


def test_another_half_precision_is_refused(tmp_path):
    fault = reason(tmp_path, "processing: {half_precision: sometimes}")
    assert "processing.half_precision" in fault
    assert "'sometimes'" in fault


@pytest.mark.parametrize(
    "text",
    [
        "notifier: {database_url: [postgresql://me:s3cr3t@db/superres]}",
        "notifier: postgresql://me:s3cr3t@db/superres",
        "notifier: {public_url: https://me:s3cr3t@example.org/}",
        "notifier: {database_url: postgresql://me:s3cr3t: x@db}",
        "notifier:\n  database_url: 'postgresql://me:s3cr3t p@db",
    ],
)
def test_no_error_quotes_a_password(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ConfigError) as raised:
        load_settings(str(tmp_path / "config.yaml"), {})
    assert "s3cr3t" not in str(raised.value)
    assert str(raised.value).startswith(f"{tmp_path}/config.yaml: ")
