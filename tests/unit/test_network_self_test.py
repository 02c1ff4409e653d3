"""The self-test that runs on every node: both engines give one digest, on any processor."""

import sys

import numpy as np
import pytest

from superres.errors import ModelError
from superres.models import default_model_path
from superres.network import self_test, upscaling
from superres.network.engine import make_engine, torch_engine
from superres.network.weights import load_weights


@pytest.mark.slow
def test_both_engines_give_the_expected_digest():
    assert "as expected" in self_test.check("onnxruntime")
    assert "as expected" in self_test.check("torch")


def test_no_sample_of_the_test_image_is_close_to_a_rounding_boundary(monkeypatch):
    # Otherwise another processor could give another digest.
    seen = []
    store = upscaling._store

    def spy(values, target):
        seen.append(values.copy())
        store(values, target)

    monkeypatch.setattr(upscaling, "_store", spy)
    weights = load_weights(default_model_path(2), 2)
    results = []
    for engine in (make_engine(weights), torch_engine(weights, "cpu")):
        seen.clear()
        self_test.result_digest(engine)
        results.append(np.concatenate([values.ravel() for values in seen]))
    margins = [np.abs(values - np.round(values)).min() for values in results]
    assert min(margins) > 0.004
    assert np.abs(results[0] - results[1]).max() < min(margins) / 10


def test_a_different_result_is_an_error(monkeypatch, capsys):
    weights = load_weights(default_model_path(2), 2)
    darker = {name: tensor * 0.99 for name, tensor in weights.tensors.items()}
    monkeypatch.setattr(
        self_test, "load_weights", lambda *_: type(weights)(2, darker, weights.digest)
    )
    with pytest.raises(ModelError, match="self-test with onnxruntime: the result's digest is"):
        self_test.check("onnxruntime")
    monkeypatch.setattr(sys, "argv", ["self_test"])
    assert self_test.main() == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    monkeypatch.setattr(sys, "argv", ["self_test", "tensorflow"])
    assert self_test.main() == 2
