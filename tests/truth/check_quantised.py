"""Checks quantised.py against the packages that write such files: compressed-tensors, and AutoRound's GPTQ layers. Needs
PyPI's `compressed-tensors`, `auto-round`, `safetensors` and `torch`.

    python check_quantised.py ../data/quantised
"""
import json
import os
import sys

import numpy as np
import torch
from auto_round_extension.torch import qlinear_torch, qlinear_torch_zp
from compressed_tensors.compressors.quantized_compressors.pack_quantized import unpack_from_int32
from compressed_tensors.quantization.lifecycle.forward import dequantize
from safetensors.torch import load_file

import llama
import quantised


def gptq(arrays, module, settings):
    """By slices: the layer takes no more outputs than inputs where there is a g_idx."""
    version1, bits = settings.get("checkpoint_format", "gptq") == "gptq", settings["bits"]
    columns, rows = len(arrays[module + "g_idx"]), arrays[module + "scales"].shape[1]
    slices = []
    for first in range(0, rows, columns):
        last = min(first + columns, rows)
        layer = (qlinear_torch_zp if version1 else qlinear_torch).QuantLinear(
            bits, settings["group_size"], columns, last - first, bias=False, g_idx=True)
        layer.g_idx = arrays[module + "g_idx"]
        layer.qweight = arrays[module + "qweight"][:, first:last]
        layer.qzeros = arrays[module + "qzeros"][:, first * bits // 32:last * bits // 32]
        layer.scales = arrays[module + "scales"][:, first:last].float()
        slices.append(layer.forward(torch.eye(columns)).T)
    return torch.cat(slices)


def compressed(arrays, module):
    scale, zeros = arrays[module + "weight_scale"].float(), arrays.get(module + "weight_zero_point")
    if module + "weight_packed" in arrays:
        shape = torch.Size(arrays[module + "weight_shape"].tolist())
        packed = arrays[module + "weight_packed"]
        bits = packed.shape[1] * 32 // shape[1]
        weight = unpack_from_int32(packed, bits, shape)
        if zeros is not None and zeros.dtype == torch.int32:
            zeros = unpack_from_int32(zeros, bits, torch.Size([shape[0], scale.shape[-1]]), packed_dim=0)
    else:
        weight = arrays[module + "weight"]
    return dequantize(weight, scale, zeros, g_idx=arrays.get(module + "weight_g_idx"))


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print(__doc__)
        return 2
    bad = 0
    for name in open(os.path.join(sys.argv[1], "manifest.txt")).read().split():
        path = os.path.join(sys.argv[1], name)
        config = json.load(open(os.path.join(path, "config.json")))
        file = os.path.join(path, "model.safetensors")
        ours, theirs = quantised.dequantise(llama.read_safetensors(file), config), load_file(file)
        modules = [n[:n.rfind(".") + 1] for n in theirs if n.endswith((".qweight", ".weight_scale"))]
        different = 0
        for module in modules:
            settings = quantised.settings(config)
            weight = gptq(theirs, module, settings) if settings["quant_method"] == "gptq" else compressed(theirs, module)
            different += int(np.count_nonzero(ours[module + "weight"] != weight.float().numpy()))
        print(f"{name:20} {len(modules)} matrices, {different} numbers differ")
        bad += different
    return bad != 0


if __name__ == "__main__":
    sys.exit(main())
