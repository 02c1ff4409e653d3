"""The self-test that runs on every node: all engines give one digest, on any processor."""

import sys

import numpy as np
import pytest

from superres.errors import ModelError
from superres.models import default_model_path
from superres.network import engine as engines
from superres.network import reference, self_test
from superres.network.weights import load_weights


@pytest.mark.slow
@pytest.mark.parametrize("library", ["openvino", "onnxruntime"])
def test_every_engine_gives_the_expected_digest(library, monkeypatch):
    monkeypatch.setattr(engines, "cpu_library", lambda: library)
    monkeypatch.setattr(self_test, "cpu_library", lambda: library)
    assert f"with {library}: " in self_test.check("cpu")
    assert "with torch: " in self_test.check("torch")


def test_no_sample_of_the_test_image_is_close_to_a_rounding_boundary():
    # Otherwise another processor could give another digest.
    weights = load_weights(default_model_path(2), 2)
    levels = reference.unrounded(self_test.tiny_image(), 2, reference.fsrcnn(weights))
    assert np.abs(levels + 0.5 - np.round(levels + 0.5)).min() > 0.005


def test_a_different_result_is_an_error(monkeypatch, capsys):
    weights = load_weights(default_model_path(2), 2)
    darker = {name: tensor * 0.99 for name, tensor in weights.tensors.items()}
    monkeypatch.setattr(
        self_test, "load_weights", lambda *_: type(weights)(2, darker, weights.digest)
    )
    with pytest.raises(ModelError, match="self-test with openvino: the result's digest is"):
        self_test.check("cpu")
    monkeypatch.setattr(sys, "argv", ["self_test"])
    assert self_test.main() == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    monkeypatch.setattr(sys, "argv", ["self_test", "tensorflow"])
    assert self_test.main() == 2
