"""FSRCNN as an ONNX graph, built from the weights without torch."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from superres.network.weights import MAPPINGS, Array, Weights, deconvolution_as_convolution

OPSET = 17
IR_VERSION = 8  # the newest that every onnxruntime of the last three years reads


def build_onnx(weights: Weights) -> onnx.ModelProto:
    """The graph from ``low`` (N, 1, h, w) to ``high`` (N, 1, s*h, s*w), float32, unclipped.

    Both are luma on [0, 1].

    The deconvolution becomes a convolution and DepthToSpace, which is exact and faster.
    """
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []

    def constant(name: str, values: Array) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def convolution(source: str, name: str, kernel: Array, bias: Array) -> str:
        reach = kernel.shape[-1] // 2
        inputs = [source, constant(f"{name}.weight", kernel), constant(f"{name}.bias", bias)]
        nodes.append(helper.make_node("Conv", inputs, [name], name=name, pads=[reach] * 4))
        return name

    def layer(source: str, name: str, first: int = 0) -> str:
        tensors = weights.tensors
        convolved = convolution(
            source,
            f"{name}.{first}",
            tensors[f"{name}.{first}.weight"],
            tensors[f"{name}.{first}.bias"],
        )
        slope_name = f"{name}.{first + 1}"
        slope = constant(f"{slope_name}.weight", tensors[f"{slope_name}.weight"].reshape(-1, 1, 1))
        nodes.append(helper.make_node("PRelu", [convolved, slope], [slope_name], name=slope_name))
        return slope_name

    features = layer(layer("low", "feature_extraction"), "shrink")
    for index in range(MAPPINGS):
        features = layer(features, "map", 2 * index)
    features = layer(features, "expand")
    bias = np.repeat(weights.tensors["deconv.bias"], weights.scale**2)
    phases = convolution(features, "deconv", deconvolution_as_convolution(weights), bias)
    shuffle = helper.make_node(
        "DepthToSpace", [phases], ["high"], name="high", blocksize=weights.scale, mode="CRD"
    )
    graph = helper.make_graph(
        [*nodes, shuffle],
        "fsrcnn",
        [helper.make_tensor_value_info("low", TensorProto.FLOAT, ["n", 1, "h", "w"])],
        [helper.make_tensor_value_info("high", TensorProto.FLOAT, ["n", 1, "sh", "sw"])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = IR_VERSION
    helper.set_model_props(model, {"scale": str(weights.scale), "digest": weights.digest})
    return model


def export_onnx(weights: Weights, path: Path) -> None:
    """Writes the graph to ``path``."""
    path.write_bytes(build_onnx(weights).SerializeToString())
