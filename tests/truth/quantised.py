"""Weights of quantised safetensors to float32 with NumPy: GPTQ and compressed-tensors. Shares no code with the engine.

https://github.com/AutoGPTQ/AutoGPTQ/blob/main/auto_gptq/nn_modules/qlinear/qlinear_cuda.py
https://github.com/vllm-project/compressed-tensors/tree/main/src/compressed_tensors/compressors
"""
import numpy as np

import formats


def fields(words, bits, axis):
    """The unsigned fields of 32-bit words, the lowest first, side by side along `axis`."""
    words = words.view(np.uint32)
    parts = [words >> np.uint32(shift) & np.uint32(2 ** bits - 1) for shift in range(0, 32, bits)]
    stacked = np.stack(parts, axis=axis + 1)
    shape = list(words.shape)
    shape[axis] *= 32 // bits
    return stacked.reshape(shape).astype(np.int32)


def gptq(arrays, module, settings):
    """[rows][columns]; the files hold the transpose."""
    bits = settings["bits"]
    codes = fields(arrays[module + "qweight"], bits, 0)
    zeros = fields(arrays[module + "qzeros"], bits, 1) + (settings.get("checkpoint_format", "gptq") == "gptq")
    group_of = arrays[module + "g_idx"]
    scales = arrays[module + "scales"].astype(np.float32)
    return np.ascontiguousarray((scales[group_of] * (codes - zeros[group_of]).astype(np.float32)).T)


def compressed(arrays, module):
    scales = arrays[module + "weight_scale"].astype(np.float32)  # [rows][groups], or one number
    scales = scales if scales.ndim == 2 else scales.reshape(1, 1)
    zeros = arrays.get(module + "weight_zero_point")
    if module + "weight_packed" in arrays:
        rows, columns = (int(n) for n in arrays[module + "weight_shape"])
        packed = arrays[module + "weight_packed"]
        bits = packed.shape[1] * 32 // columns
        codes = fields(packed, bits, 1) - 2 ** (bits - 1)
        if zeros is not None and zeros.dtype == np.int32:
            zeros = fields(zeros, bits, 0)[:rows] - 2 ** (bits - 1)
    else:
        codes = arrays[module + "weight"]
        rows, columns = codes.shape
        if codes.dtype == np.uint8:  # E4M3
            return formats.e4m3(codes) * scales
        codes = codes.astype(np.int32)
    scales = np.broadcast_to(scales, (rows, scales.shape[1]))
    group_of = arrays.get(module + "weight_g_idx")
    if group_of is None or (group_of == -1).all():
        group_of = np.arange(columns) // (columns // scales.shape[1])
    if zeros is not None:
        codes = codes - np.broadcast_to(zeros.astype(np.int32).reshape(-1, scales.shape[1]), scales.shape)[:, group_of]
    return scales[:, group_of] * codes.astype(np.float32)


def settings(config):
    return config.get("quantization_config") or config.get("compression_config")


def dequantise(arrays, config):
    """name -> array of a checkpoint, with each quantised module's parts replaced by its `weight`."""
    s = settings(config)
    if not s:
        return arrays
    out = dict(arrays)
    for name in arrays:
        module = name[:name.rfind(".") + 1]
        if name.endswith(".qweight"):
            out[module + "weight"] = gptq(arrays, module, s)
        elif name.endswith(".weight_scale"):
            out[module + "weight"] = compressed(arrays, module)
    return out
