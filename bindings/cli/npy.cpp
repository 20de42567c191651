// NumPy's .npy format, version 1.0.
#include "bindings/cli/npy.h"

#include <bit>
#include <cerrno>
#include <cstring>
#include <unistd.h>
#include <utility>

#include "bindings/cli/client.h"

namespace cli {

NpyWriter::NpyWriter(std::string p, int64_t rows, int64_t columns)
    : path(std::move(p)),
      temporary(path + ".part-" + std::to_string(getpid())),
      file(std::fopen(temporary.c_str(), "wbxe")) {
    if (!file) fail();
    std::string header = std::string("{'descr': '") + (std::endian::native == std::endian::little ? '<' : '>') +
                         "f4', 'fortran_order': False, 'shape': (" + std::to_string(rows) + ", " +
                         std::to_string(columns) + "), }";
    constexpr size_t preamble = 10;  // magic, version, length of the header
    while ((preamble + header.size() + 1) % 64 != 0) header += ' ';
    header += '\n';
    const char start[] = {'\x93', 'N', 'U', 'M', 'P', 'Y', 1, 0, char(header.size() & 0xFF), char(header.size() >> 8)};
    if (std::fwrite(start, 1, sizeof start, file) != sizeof start ||
        std::fwrite(header.data(), 1, header.size(), file) != header.size()) {
        const int error = errno;
        std::fclose(file);
        unlink(temporary.c_str());
        errno = error;
        fail();
    }
}

NpyWriter::~NpyWriter() {
    if (!file) return;
    std::fclose(file);
    unlink(temporary.c_str());
}

void NpyWriter::write(const float* values, int64_t count) {
    if (std::fwrite(values, sizeof *values, size_t(count), file) != size_t(count)) fail();
}

void NpyWriter::finish() {
    if (std::fflush(file) != 0 || fsync(fileno(file)) != 0 || std::rename(temporary.c_str(), path.c_str()) != 0) fail();
    std::fclose(std::exchange(file, nullptr));
}

void NpyWriter::fail() const { throw Failure(path + ": " + std::strerror(errno), ALIA_IO); }

}  // namespace cli
