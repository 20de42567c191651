// A file that appears under its name only once it is whole.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace alia {

// Everything goes to a temporary file in the same folder, which leaves with its owner unless finish() was reached.
// Errors: invalid_argument (the path is a directory or a device), not_found (its folder), io (no room left included).
class OutputFile {
  public:
    explicit OutputFile(std::string path);
    ~OutputFile();
    OutputFile(const OutputFile&) = delete;
    OutputFile& operator=(const OutputFile&) = delete;

    // Takes room for so many bytes at once, so that a disk too small is known before the work is done.
    void reserve(int64_t bytes);
    void write(std::string_view bytes);
    // Onto the disk and under its name, in place of what was there.
    void finish();

  private:
    [[noreturn]] void failed(const char* what) const;

    std::string path, temporary;
    int descriptor = -1;
};

}  // namespace alia
