"""Reading and writing GGUF files (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md) with NumPy alone."""
import struct

import numpy as np

import formats

SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
U32, F32, BOOL, STRING, ARRAY = 4, 6, 7, 8, 9


class Reader:
    """metadata: key -> value; tensors: name -> (format, shape with rows first, bytes)."""

    def __init__(self, path):
        self.data = np.memmap(path, np.uint8, "r")
        self.at = 4
        assert bytes(self.data[:4]) == b"GGUF", path
        version, tensors, keys = self.scalar("<I"), self.scalar("<Q"), self.scalar("<Q")
        assert version in (2, 3), version
        self.typed = {}  # key -> (type, value), as write() takes them
        for _ in range(keys):
            key, kind = self.string(), self.scalar("<I")
            self.typed[key] = (kind, self.value(kind))
        self.metadata = {key: value[1] if kind == ARRAY else value for key, (kind, value) in self.typed.items()}
        entries = []
        for _ in range(tensors):
            name = self.string()
            shape = [self.scalar("<Q") for _ in range(self.scalar("<I"))]
            entries.append((name, shape[::-1], formats.by_number[self.scalar("<I")], self.scalar("<Q")))
        align = self.metadata.get("general.alignment", 32)
        start = (self.at + align - 1) // align * align
        self.tensors = {}
        for name, shape, kind, offset in entries:
            size = formats.row_bytes(kind, shape[-1]) * int(np.prod(shape[:-1]))
            self.tensors[name] = (kind, shape, self.data[start + offset:start + offset + size])

    def scalar(self, code):
        size = struct.calcsize(code)
        self.at += size
        return struct.unpack(code, self.data[self.at - size:self.at].tobytes())[0]

    def string(self):
        n = self.scalar("<Q")
        self.at += n
        return self.data[self.at - n:self.at].tobytes().decode()

    def value(self, kind):
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            of, n = self.scalar("<I"), self.scalar("<Q")
            return of, [self.value(of) for _ in range(n)]
        return self.scalar(SCALARS[kind])

    def array(self, name):
        kind, shape, data = self.tensors[name]
        return formats.decode(kind, data, shape[-1]).reshape(shape)


def _string(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(kind, value):
    if kind == STRING:
        return _string(value)
    if kind == ARRAY:
        of, items = value
        return struct.pack("<IQ", of, len(items)) + b"".join(_value(of, i) for i in items)
    return struct.pack(SCALARS[kind], value)


def write(path, metadata, tensors, version=3, align=32):
    """metadata: [(key, kind, value)]; tensors: [(name, format, shape with rows first, bytes)]."""
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata))
    for key, kind, value in metadata:
        head += _string(key) + struct.pack("<I", kind) + _value(kind, value)
    offset = 0
    for name, kind, shape, data in tensors:
        head += _string(name) + struct.pack("<I", len(shape)) + b"".join(struct.pack("<Q", n) for n in shape[::-1])
        head += struct.pack("<IQ", formats.formats[kind].gguf, offset)
        offset += (len(data) + align - 1) // align * align
    with open(path, "wb") as out:
        out.write(head + bytes(-len(head) % align))
        for _, _, _, data in tensors:
            out.write(bytes(data) + bytes(-len(data) % align))
