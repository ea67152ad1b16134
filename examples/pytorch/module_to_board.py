"""From an nn.Module to what digits_cnn.yaml trains on a board: writes digits_cnn.onnx (int8) and digits_cnn.npz into --folder.

--pt2e quantises by PyTorch's own PT2E flow, as ExecuTorch does, instead of onnxruntime's quantiser.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from sklearn.datasets import load_digits
from torch import nn


class Images(CalibrationDataReader):
    """What onnxruntime's quantiser calibrates with, one image at a time."""

    def __init__(self, images):
        """Images (n, 1, 8, 8)."""
        self.feeds = iter([{"image": image[None].numpy()} for image in images])

    def get_next(self):
        """The next input, or None."""
        return next(self.feeds, None)


parser = argparse.ArgumentParser()
parser.add_argument("--folder", type=Path, default=Path(__file__).parent)
parser.add_argument("--pt2e", action="store_true")
arguments = parser.parse_args()
stem, (pixels, labels) = arguments.folder / "digits_cnn", load_digits(return_X_y=True)
pixels = pixels.reshape(-1, 8, 8, 1).astype(np.uint8)
images = torch.tensor(pixels.transpose(0, 3, 1, 2) / 16, dtype=torch.float32)  # 0 to 1, channels first
torch.manual_seed(0)
first = [nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2), nn.Hardswish()]
network = nn.Sequential(*first, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))
optimizer = torch.optim.Adam(network.parameters(), 1e-2)
for _ in range(20):
    for batch in torch.randperm(1000).split(50):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images[batch]), torch.tensor(labels)[batch]).backward()
        optimizer.step()
network.eval()
example, target = (images[:1],), f"{stem}.onnx"
if arguments.pt2e:
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.testing.pt2e._xnnpack_quantizer import XNNPACKQuantizer, get_symmetric_quantization_config

    quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    prepared = prepare_pt2e(torch.export.export(network, example).module(), quantizer)
    for image in images[:200]:
        prepared(image[None])
    network = torch.export.export(convert_pt2e(prepared), example)
torch.onnx.export(network, example, target, dynamo=True, external_data=False, input_names=["image"])
if not arguments.pt2e:
    quantize_static(target, target, Images(images[:200]), activation_type=QuantType.QInt8, per_channel=True)
turned, adapt, test = np.ascontiguousarray(pixels[:, ::-1, ::-1]), slice(1000, 1400), slice(1400, None)
np.savez(f"{stem}.npz", adapt_samples=turned[adapt], adapt_labels=labels[adapt],
         test_samples=turned[test], test_labels=labels[test])  # fmt: skip
