"""FSRCNN as ONNX graphs, built from the weights without torch: for luma, and for whole samples."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper

from superres.network.sample_layers import REACH, SampleLayers, sample_layers
from superres.network.weights import MAPPINGS, Array, Weights, deconvolution_as_convolution

OPSET = 17
IR_VERSION = 8  # the newest that every onnxruntime of the last three years reads

_SAMPLES = {8: TensorProto.UINT8, 16: TensorProto.UINT16}


def build_onnx(weights: Weights, *, bfloat16: bool = False) -> onnx.ModelProto:
    """The graph from ``low`` (N, 1, h, w) to ``high`` (N, 1, s*h, s*w), float32, unclipped.

    Both are luma on [0, 1]. ``bfloat16`` is for OpenVINO at this precision.

    The deconvolution becomes a convolution and DepthToSpace, which is exact and faster.
    """
    graph = _Graph()
    phases = graph.luma_phases(graph.features("low", weights), weights)
    if bfloat16:
        phases = graph.unrounded(phases)
    graph.shuffle(phases, "high", weights.scale)
    return graph.model("fsrcnn", weights, TensorProto.FLOAT, 1)


def build_samples_onnx(
    weights: Weights, channels: int, bit_depth: int, *, bfloat16: bool = False
) -> onnx.ModelProto:
    """The graph from ``low`` (N, C, h, w) to ``high`` (N, C, s*h, s*w), uint8 or uint16.

    C is 1 (grey), 2 (grey, alpha), 3 (red, green, blue) or 4 (red, green, blue, alpha). Luma,
    network, colour and rounding are inside; ``superres.network.reference`` is its arithmetic.
    ``bfloat16`` is for OpenVINO at this precision.
    """
    colours = 1 if channels <= 2 else 3
    layers = sample_layers(weights, colours, bit_depth)
    graph = _Graph()
    samples = graph.add("Cast", ["low"], "samples", to=TensorProto.FLOAT)
    alpha: str | None = None
    if channels in (2, 4):
        samples, alpha = graph.split(samples, "colours", "alpha", colours)
    high = graph.colours(samples, weights, layers, bfloat16)
    if alpha is not None:
        enlarged = graph.enlarged(alpha, "alpha", layers.alpha, layers.alpha_bias)
        high = graph.add("Concat", [high, enlarged], "with_alpha", axis=1)
    limits = [graph.constant(str(level), np.float32(level)) for level in (0, layers.peak)]
    clipped = graph.add("Clip", [high, *limits], "clipped")
    kind = _SAMPLES[bit_depth]
    if bit_depth == 8:  # as integers first, so that the shuffle moves a quarter of the bytes
        graph.shuffle(graph.add("Cast", [clipped], "levels", to=kind), "high", weights.scale)
    else:  # onnxruntime shuffles no uint16
        graph.add("Cast", [graph.shuffle(clipped, "levels", weights.scale)], "high", to=kind)
    return graph.model("fsrcnn_samples", weights, kind, channels)


class _Graph:
    """Collects nodes and constants."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def add(self, operator: str, inputs: list[str], name: str, **attributes: Any) -> str:
        """Adds a node with one output, named like the node."""
        self._nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def constant(self, name: str, values: ArrayLike) -> str:
        self._constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def convolution(
        self, source: str, name: str, kernel: Array, bias: Array | None = None, pad: int = -1
    ) -> str:
        """A convolution, padded with zeros to keep the size unless ``pad`` says otherwise."""
        reach = kernel.shape[-1] // 2 if pad < 0 else pad
        inputs = [source, self.constant(f"{name}.weight", kernel)]
        if bias is not None:
            inputs.append(self.constant(f"{name}.bias", bias))
        return self.add("Conv", inputs, name, pads=[reach] * 4)

    def features(self, luma: str, weights: Weights) -> str:
        """All layers of FSRCNN but the last: (N, 1, h, w) to (N, 56, h, w)."""

        def layer(source: str, name: str, first: int = 0) -> str:
            slopes = f"{name}.{first + 1}"
            kernel = weights.tensors[f"{name}.{first}.weight"]
            bias = weights.tensors[f"{name}.{first}.bias"]
            convolved = self.convolution(source, f"{name}.{first}", kernel, bias)
            shaped = weights.tensors[f"{slopes}.weight"].reshape(-1, 1, 1)
            return self.add("PRelu", [convolved, self.constant(f"{slopes}.weight", shaped)], slopes)

        features = layer(layer(luma, "feature_extraction"), "shrink")
        for index in range(MAPPINGS):
            features = layer(features, "map", 2 * index)
        return layer(features, "expand")

    def luma_phases(self, features: str, weights: Weights) -> str:
        """The last layer: (N, 56, h, w) to luma on [0, 1], (N, s*s, h, w)."""
        bias = np.repeat(weights.tensors["deconv.bias"], weights.scale**2)
        return self.convolution(features, "deconv", deconvolution_as_convolution(weights), bias)

    def unrounded(self, phases: str) -> str:
        """Keeps OpenVINO from rounding the phases to bfloat16.

        OpenVINO computes in single precision what follows the last convolution, and lets it give
        single precision if it can join such an operation to it. This one changes no value.
        """
        limits = [self.constant(f"beyond {name}", np.float32(name)) for name in ("-64", "64")]
        return self.add("Clip", [phases, *limits], "unrounded")

    def levels(self, features: str, weights: Weights, layers: SampleLayers, bfloat16: bool) -> str:
        """The last layer with its result in levels of the samples, half a level up."""
        if not bfloat16:
            return self.convolution(features, "phases", layers.phases, layers.phases_bias)
        # Multiplied outside the kernel, whose weights are rounded as they were in training.
        phases = self.unrounded(self.luma_phases(features, weights))
        scaled = self.add("Mul", [phases, self.constant("gain", layers.gain)], "scaled")
        return self.add("Add", [scaled, self.constant("offset", layers.offset)], "phases")

    def colours(self, samples: str, weights: Weights, layers: SampleLayers, bfloat16: bool) -> str:
        """(N, 1 or 3, h, w) samples to the phases (N, s*s or 3*s*s, h, w) of the result."""
        differences = samples
        if layers.differences is not None:
            differences = self.convolution(samples, "differences", layers.differences)
        luma = self.convolution(differences, "luma", layers.luma, layers.luma_bias)
        phases = self.levels(self.features(luma, weights), weights, layers, bfloat16)
        if layers.colour is None:
            return phases
        thrice = self.add("Concat", [phases] * 3, "phases_of_all", axis=1)
        return self.add("Add", [thrice, self.enlarged(differences, "colour", layers.colour)], "sum")

    def enlarged(self, source: str, name: str, kernel: Array, bias: Array | None = None) -> str:
        """Bicubic phases; beyond the edge, pixels are repeated."""
        pads = np.array([0, 0, REACH, REACH] * 2, np.int64)
        inputs = [source, self.constant(f"{name}.pads", pads)]
        padded = self.add("Pad", inputs, f"{name}.padded", mode="edge")
        return self.convolution(padded, f"{name}.enlarged", kernel, bias, pad=0)

    def split(self, source: str, first: str, second: str, channels: int) -> tuple[str, str]:
        """The first ``channels`` channels, and the one after them."""
        sizes = self.constant(f"{first}.sizes", np.array([channels, 1], np.int64))
        self._nodes.append(helper.make_node("Split", [source, sizes], [first, second], axis=1))
        return first, second

    def shuffle(self, phases: str, name: str, scale: int) -> str:
        return self.add("DepthToSpace", [phases], name, blocksize=scale, mode="CRD")

    def model(self, name: str, weights: Weights, kind: int, channels: int) -> onnx.ModelProto:
        """The graph from ``low`` to ``high``, both of ``kind`` and with ``channels``."""
        low = helper.make_tensor_value_info("low", kind, ["n", channels, "h", "w"])
        high = helper.make_tensor_value_info("high", kind, ["n", channels, "sh", "sw"])
        graph = helper.make_graph(self._nodes, name, [low], [high], self._constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version = IR_VERSION
        helper.set_model_props(model, {"scale": str(weights.scale), "digest": weights.digest})
        return model


def export_onnx(weights: Weights, path: Path) -> None:
    """Writes the graph for luma to ``path``."""
    path.write_bytes(build_onnx(weights).SerializeToString())
