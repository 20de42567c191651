// NumPy's .npy format, version 1.0.
#include "bindings/cli/npy.h"

#include <bit>

namespace cli {

NpyWriter::NpyWriter(const std::string& path, int64_t rows, int64_t columns) : file(path) {
    std::string header = std::string("{'descr': '") + (std::endian::native == std::endian::little ? '<' : '>') +
                         "f4', 'fortran_order': False, 'shape': (" + std::to_string(rows) + ", " +
                         std::to_string(columns) + "), }";
    constexpr size_t preamble = 10;  // magic, version, length of the header
    while ((preamble + header.size() + 1) % 64 != 0) header += ' ';
    header += '\n';
    const char start[] = {'\x93', 'N', 'U', 'M', 'P', 'Y', 1, 0, char(header.size() & 0xFF), char(header.size() >> 8)};
    file.write({start, sizeof start});
    file.write(header);
}

}  // namespace cli
