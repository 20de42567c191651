"""Writes a GGUF file with every tensor as float32: what another engine reads without rounding weights or activations.

    python3 tests/truth/gguf_to_f32.py MODEL.gguf OUT.gguf
"""
import sys

import gguf_file


def main():
    if len(sys.argv) != 3:
        print(__doc__)
        return
    r = gguf_file.Reader(sys.argv[1])
    tensors = [(name, "F32", shape, r.array(name).tobytes()) for name, (_, shape, _) in r.tensors.items()]
    kinds = {"general.file_type": (gguf_file.U32, 0)}
    metadata = [(key, *kinds.get(key, (kind, value))) for key, (kind, value) in r.typed.items()]
    gguf_file.write(sys.argv[2], metadata, tensors)


if __name__ == "__main__":
    main()
