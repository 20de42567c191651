// A row-major matrix somewhere on a device.
#pragma once
#include <cstddef>

#include "kernels/formats.h"

namespace alia {

// Borrowed: whoever allocated `data` owns it. Heads and pages are meanings that an operation gives to columns and rows.
struct Tensor {
    void* data = nullptr;
    int64_t rows = 0, columns = 0;
    int64_t stride = 0;  // bytes from row to row; 0 where the rows are packed in a table's own layout
    Format format = Format::F32;
    bool e4m3_inputs = false;  // of weights in E4M3: their file has what they multiply rounded too (ops.h, linear)

    explicit operator bool() const { return data != nullptr; }

    template <class T = float>
    T* row(int64_t i) const {
        return reinterpret_cast<T*>(static_cast<std::byte*>(data) + i * stride);
    }

    // Columns [first, first + count), sharing the memory; whole blocks of the format.
    Tensor slice(int64_t first, int64_t count) const {
        return {static_cast<std::byte*>(data) + row_bytes(format, first), rows, count, stride, format};
    }
};

}  // namespace alia
