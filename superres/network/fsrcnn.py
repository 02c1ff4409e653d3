"""FSRCNN in torch: for training, for GPUs, and as the reference in tests of other engines.

Dong, Loy and Tang, "Accelerating the Super-Resolution Convolutional Neural Network", 2016
(arXiv 1608.00367), d = 56, s = 12, m = 4.
"""

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from superres.network.weights import (
    FEATURES,
    KERNEL,
    MAPPINGS,
    SHRUNK,
    Weights,
    cubic_taps,
    make_weights,
    shuffle_index,
)


class Fsrcnn(nn.Module):
    """(N, 1, h, w) luma to (N, 1, s*h, s*w), both nominally on [0, 1], not clipped.

    The parameters are those of the paper. The last layer is computed as a smaller convolution and a
    pixel shuffle, which is exact: see ``weights.deconvolution_as_convolution``.
    """

    _taps: Tensor

    def __init__(self, scale: int, *, half_precision: bool = False) -> None:
        """An untrained network with random values; ``start_from_bicubic`` is a better start.

        With ``half_precision`` it computes what OpenVINO does in bfloat16: inputs of layers,
        weights, and biases of all layers but the last are rounded to it; sums are not.
        """
        super().__init__()
        self.scale = scale
        self._rounded: Callable[[Tensor], Tensor] = _to_bfloat16 if half_precision else _unchanged
        self.feature_extraction = _layer(1, FEATURES, 5)
        self.shrink = _layer(FEATURES, SHRUNK, 1)
        mapping = [_layer(SHRUNK, SHRUNK, 3) for _ in range(MAPPINGS)]
        self.map = nn.Sequential(*(module for layer in mapping for module in layer))
        self.expand = _layer(SHRUNK, FEATURES, 1)
        self.deconv = nn.ConvTranspose2d(
            FEATURES, 1, KERNEL, stride=scale, padding=KERNEL // 2, output_padding=scale - 1
        )
        index = torch.tensor(shuffle_index(scale))
        self.register_buffer("_taps", index, persistent=False)
        self._initialise()

    def _initialise(self) -> None:
        # He et al. 2015 for PReLU; the paper draws the deconvolution from N(0, 0.001).
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.out_channels * module.kernel_size[0] * module.kernel_size[1]
                nn.init.normal_(module.weight, 0.0, math.sqrt(2 / fan_out))
                nn.init.zeros_(_bias(module))
        nn.init.normal_(self.deconv.weight, 0.0, 0.001)
        nn.init.zeros_(_bias(self.deconv))

    @torch.no_grad()
    def start_from_bicubic(self) -> None:
        """Sets the weights so that the network enlarges bicubically.

        Channel 0 carries the input to the last layer, which has a cubic kernel there. Training then
        starts near bicubic quality and needs about a quarter of the iterations.
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                centre = module.kernel_size[0] // 2
                module.weight[0] = 0
                module.weight[0, 0, centre, centre] = 1
        taps = torch.from_numpy(cubic_taps(self.scale)).float()
        self.deconv.weight[0, 0] = torch.outer(taps, taps)

    def forward(self, luma: Tensor) -> Tensor:
        """Upscales a batch; see the class."""
        return functional.pixel_shuffle(self.phases(luma), self.scale)

    def phases(self, luma: Tensor, *, padded: bool = True) -> Tensor:
        """The result before the pixel shuffle: (N, 1, h, w) to (N, s*s, h, w).

        Maps are padded with zeros, as the crops of a training are. Without, they get smaller:
        (N, 1, h + 2r, w + 2r) to (N, s*s, h, w), with ``weights.reach`` as r.
        """
        rounded = self._rounded
        features = rounded(luma)
        for convolution, activation in self._layers():
            kernel = rounded(convolution.weight)
            padding = convolution.kernel_size[0] // 2 if padded else 0
            bias = rounded(_bias(convolution))
            convolved = functional.conv2d(features, kernel, bias, padding=padding)
            features = rounded(activation(convolved))
        outputs = self.scale**2
        side = math.isqrt(self._taps.numel() // outputs)
        taps = rounded(functional.pad(self.deconv.weight.flatten(1), (0, 1)))
        kernel = taps[:, self._taps].view(FEATURES, outputs, side, side).transpose(0, 1)
        bias = _bias(self.deconv).expand(outputs)
        return functional.conv2d(features, kernel, bias, padding=side // 2 if padded else 0)

    def _layers(self) -> Iterator[tuple[nn.Conv2d, nn.Module]]:
        """Convolution and activation of each layer before the deconvolution."""
        flat = [*self.feature_extraction, *self.shrink, *self.map, *self.expand]
        for convolution, activation in zip(flat[::2], flat[1::2], strict=True):
            assert isinstance(convolution, nn.Conv2d)
            yield convolution, activation

    @torch.no_grad()
    def round_convolutions(self) -> None:
        """Rounds to bfloat16 what half precision rounds of the parameters; they stay float32."""
        for convolution, _ in self._layers():
            for parameter in (convolution.weight, _bias(convolution)):
                parameter.copy_(_to_bfloat16(parameter))
        self.deconv.weight.copy_(_to_bfloat16(self.deconv.weight))


def _unchanged(values: Tensor) -> Tensor:
    return values


def _to_bfloat16(values: Tensor) -> Tensor:
    """Rounds to bfloat16 and back; the gradient passes straight through (Bengio et al., 2013)."""
    return values + (values.bfloat16().float() - values).detach()


def _layer(inputs: int, outputs: int, side: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, side, padding=side // 2)
    return nn.Sequential(convolution, nn.PReLU(outputs))


def _bias(module: nn.Conv2d | nn.ConvTranspose2d) -> Tensor:
    assert module.bias is not None  # every layer of FSRCNN has one
    return module.bias


def network_from(weights: Weights) -> Fsrcnn:
    """A network with these weights, in evaluation mode, on the CPU."""
    network = Fsrcnn(weights.scale)
    state = {name: torch.from_numpy(np.array(array)) for name, array in weights.tensors.items()}
    network.load_state_dict(state)
    return network.eval()


def weights_of(network: Fsrcnn) -> Weights:
    """The network's parameters as plain arrays."""
    state = {name: tensor.detach().cpu().numpy() for name, tensor in network.state_dict().items()}
    return make_weights(network.scale, state, "network")
