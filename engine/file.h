// A file mapped for reading.
#pragma once
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "kernels/error.h"

namespace alia {

class File {
  public:
    // not_found, io (also for directories and devices). An empty file is a mapping of no bytes. A file that another
    // process shortens while it is mapped faults on access, as mappings do.
    static std::shared_ptr<const File> open(const std::string& path);
    // The caller's bytes under a name for errors; they outlive the File.
    static std::shared_ptr<const File> from_memory(std::string name, std::span<const std::byte> bytes);
    ~File();
    File(const File&) = delete;
    File& operator=(const File&) = delete;

    const std::string path;
    std::span<const std::byte> bytes;
    std::string_view text() const { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

    // Tells the system that these bytes will not be read again soon.
    void forget(const std::byte* data, size_t size) const;

  private:
    explicit File(std::string path) : path(std::move(path)) {}
    bool mapped = false;
};

bool is_directory(const std::string& path);
bool file_exists(const std::string& path);

}  // namespace alia
