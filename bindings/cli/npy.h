// NumPy's .npy format, version 1.0: a matrix of float32 written row by row.
// https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
#pragma once
#include <cstdint>
#include <cstdio>
#include <string>

namespace cli {

// Writes into a file beside `path` that takes its name in finish(), and vanishes without it.
class NpyWriter {
  public:
    NpyWriter(std::string path, int64_t rows, int64_t columns);
    ~NpyWriter();
    NpyWriter(const NpyWriter&) = delete;
    NpyWriter& operator=(const NpyWriter&) = delete;

    void write(const float* values, int64_t count);
    void finish();

  private:
    [[noreturn]] void fail() const;

    std::string path, temporary;
    std::FILE* file;
};

}  // namespace cli
