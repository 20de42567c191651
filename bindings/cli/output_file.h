// A file that takes its name when it is whole.
#pragma once
#include <cstdio>
#include <string>

namespace cli {

// Written beside `path`, renamed in finish(), and gone without it. Errors are Failures that name `path`.
class OutputFile {
  public:
    explicit OutputFile(std::string path);
    ~OutputFile();
    OutputFile(const OutputFile&) = delete;
    OutputFile& operator=(const OutputFile&) = delete;

    void write(const void* bytes, size_t size);
    void finish();

  private:
    [[noreturn]] void fail() const;

    std::string path, temporary;
    std::FILE* file;
};

}  // namespace cli
