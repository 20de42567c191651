// Writing GGUF, version 3: keys and tensors are described first, then the tensors' bytes follow in that order.
// https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/formats.h"

namespace alia {

class GgufWriter {
  public:
    static constexpr int64_t alignment = 32;  // of each tensor's bytes, from the file's start

    // A key given twice is the caller's defect.
    void text(std::string_view key, std::string_view value);
    void integer(std::string_view key, uint32_t value);
    void real(std::string_view key, float value);
    void boolean(std::string_view key, bool value);
    void texts(std::string_view key, std::span<const std::string> values);
    void integers(std::string_view key, std::span<const int32_t> values);
    void reals(std::string_view key, std::span<const float> values);
    // A value in GGUF's own layout, its type first.
    void raw(std::string_view key, std::string_view typed);

    // A vector has one row. Its bytes in the file are row_bytes() x rows and padding() of them.
    void tensor(std::string_view name, Format, int64_t rows, int64_t columns);

    // All that stands before the first tensor's bytes, and the whole file's size.
    std::string header() const;
    int64_t file_bytes() const { return int64_t(header().size()) + data_bytes; }

    // Zeros that follow a tensor of so many bytes.
    static int64_t padding(int64_t bytes) { return (alignment - bytes % alignment) % alignment; }

  private:
    template <class T>
    void key(std::string_view name, uint32_t type, T value);
    template <class T>
    void list(std::string_view name, uint32_t type, std::span<const T> values);

    std::string keys, tensors;
    uint64_t key_count = 0, tensor_count = 0;
    int64_t data_bytes = 0;
};

}  // namespace alia
