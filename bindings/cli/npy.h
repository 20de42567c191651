// NumPy's .npy format, version 1.0: a matrix of float32 written row by row.
// https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
#pragma once
#include <cstdint>

#include "bindings/cli/output_file.h"

namespace cli {

class NpyWriter {
  public:
    NpyWriter(const std::string& path, int64_t rows, int64_t columns);

    void write(const float* values, int64_t count) { file.write(values, size_t(count) * sizeof *values); }
    void finish() { file.finish(); }

  private:
    OutputFile file;
};

}  // namespace cli
