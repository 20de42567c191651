// A file that takes its name when it is whole.
#pragma once
#include <cstdio>
#include <string>
#include <string_view>

namespace cli {

// Written beside `path`, renamed in finish(), and gone without it. Errors are Failures that name `path`; one is that it
// is a directory or a device.
class OutputFile {
  public:
    explicit OutputFile(std::string path);
    ~OutputFile();
    OutputFile(const OutputFile&) = delete;
    OutputFile& operator=(const OutputFile&) = delete;

    void write(const void* bytes, size_t size);
    void write(std::string_view bytes) { write(bytes.data(), bytes.size()); }
    void finish();

  private:
    [[noreturn]] void fail() const;

    std::string path, temporary;
    std::FILE* file = nullptr;
};

}  // namespace cli
