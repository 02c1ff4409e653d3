"""FSRCNN as ONNX graphs, built from the weights without torch: for luma, and for whole samples.

Graphs for engines take input with its halo and pad nothing: maps get smaller from layer to layer.
Graphs for other programs (``whole_images``) first mirror the image at its edges.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper

from superres.network.sample_layers import REACH, SampleLayers, sample_layers
from superres.network.weights import (
    HALO,
    MAPPINGS,
    Array,
    Weights,
    deconvolution_as_convolution,
    reach,
)
from superres.pipeline import storage

OPSET = 17
IR_VERSION = 8  # the newest that every onnxruntime of the last three years reads

_SAMPLES = {8: TensorProto.UINT8, 16: TensorProto.UINT16}


def build_onnx(
    weights: Weights, *, whole_images: bool = False, bfloat16: bool = False
) -> onnx.ModelProto:
    """The graph from ``low`` to ``high`` (N, 1, s*h, s*w), float32, unclipped; luma on [0, 1].

    ``low`` is (N, 1, h + 2 HALO, w + 2 HALO), or (N, 1, h, w) with ``whole_images``. ``bfloat16``
    is for OpenVINO at this precision.

    The deconvolution becomes a convolution and DepthToSpace, which is exact and faster.
    """
    graph = _Graph()
    luma = graph.with_halo("low") if whole_images else "low"
    phases = graph.luma_phases(graph.features(luma, weights), weights)
    if bfloat16:
        phases = graph.unrounded(phases)
    graph.shuffle(phases, "high", weights.scale)
    return graph.model("fsrcnn", weights, TensorProto.FLOAT, 1)


def build_samples_onnx(
    weights: Weights,
    channels: int,
    bit_depth: int,
    *,
    whole_images: bool = False,
    bfloat16: bool = False,
) -> onnx.ModelProto:
    """The graph from ``low`` to ``high`` (N, C, s*h, s*w), uint8 or uint16.

    ``low`` is (N, C, h + 2 HALO, w + 2 HALO), or (N, C, h, w) with ``whole_images``. C is 1 (grey),
    2 (grey, alpha), 3 (red, green, blue) or 4 (red, green, blue, alpha). Luma, network, colour and
    rounding are inside; ``superres.network.reference`` is its arithmetic. ``bfloat16`` is for
    OpenVINO at this precision.
    """
    colours = 1 if channels <= 2 else 3
    layers = sample_layers(weights, colours, bit_depth)
    graph = _Graph()
    samples = graph.add("Cast", ["low"], "samples", to=TensorProto.FLOAT)
    if whole_images:
        samples = graph.with_halo(samples)
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

    def with_halo(self, source: str) -> str:
        """Mirrors images at their edges, as ``tiling.with_halo`` does; ONNX has no padding for it.

        Of n rows, row i beyond the edge is row i mod 2n, counted forth and back.
        """
        halo, start, one = (
            self.constant(f"halo.{name}", np.int64(value))
            for name, value in (("end", HALO), ("start", -HALO), ("step", 1))
        )
        shape = self.add("Shape", [source], "shape")
        for axis, side in ((2, "rows"), (3, "columns")):
            number = self.constant(f"{side}.axis", np.int64(axis))
            count = self.add("Gather", [shape, number], side)
            end = self.add("Add", [count, halo], f"{side}.end")
            indices = self.add("Range", [start, end, one], f"{side}.indices")
            twice = self.add("Add", [count, count], f"{side}.twice")
            forth = self.add("Mod", [indices, twice], f"{side}.forth")
            last = self.add("Sub", [twice, one], f"{side}.last")
            back = self.add("Sub", [last, forth], f"{side}.back")
            mirrored = self.add("Min", [forth, back], f"{side}.mirrored")
            source = self.add("Gather", [source, mirrored], f"{side}.with_halo", axis=axis)
        return source

    def cropped(self, source: str, name: str, border: int) -> str:
        """Without ``border`` rows and columns on each side."""
        if border == 0:
            return source
        values = {"from": [border] * 2, "to": [-border] * 2, "axes": [2, 3]}
        inputs = [
            self.constant(f"{name}.{key}", np.array(value, np.int64))
            for key, value in values.items()
        ]
        return self.add("Slice", [source, *inputs], name)

    def convolution(self, source: str, name: str, kernel: Array, bias: Array | None = None) -> str:
        """A convolution of what the whole kernel covers."""
        inputs = [source, self.constant(f"{name}.weight", kernel)]
        if bias is not None:
            inputs.append(self.constant(f"{name}.bias", bias))
        return self.add("Conv", inputs, name)

    def features(self, luma: str, weights: Weights) -> str:
        """All layers of FSRCNN but the last, of luma with its halo: 56 channels."""

        def layer(source: str, name: str, first: int = 0) -> str:
            slopes = f"{name}.{first + 1}"
            kernel = weights.tensors[f"{name}.{first}.weight"]
            bias = weights.tensors[f"{name}.{first}.bias"]
            convolved = self.convolution(source, f"{name}.{first}", kernel, bias)
            shaped = weights.tensors[f"{slopes}.weight"].reshape(-1, 1, 1)
            return self.add("PRelu", [convolved, self.constant(f"{slopes}.weight", shaped)], slopes)

        luma = self.cropped(luma, "luma_in_reach", HALO - reach(weights.scale))
        features = layer(layer(luma, "feature_extraction"), "shrink")
        for index in range(MAPPINGS):
            features = layer(features, "map", 2 * index)
        return layer(features, "expand")

    def luma_phases(self, features: str, weights: Weights) -> str:
        """The last layer: 56 channels to luma on [0, 1], (N, s*s, h, w)."""
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
        """Samples with their halo to the phases (N, s*s or 3*s*s, h, w) of the result."""
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
        """Bicubic phases, of a source with its halo."""
        inner = self.cropped(source, f"{name}.in_reach", HALO - REACH)
        return self.convolution(inner, f"{name}.enlarged", kernel, bias)

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
    """Writes the graph for luma of whole images to ``path``."""
    storage.write_bytes(str(path), build_onnx(weights, whole_images=True).SerializeToString())
