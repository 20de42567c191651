// A file mapped for reading.
#pragma once
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/error.h"

namespace alia {

// Files that are not the system's: what File::open, file_exists and is_directory see on a thread while a FileScope of
// it lives. The root is the one directory.
struct FileSource {
    std::string root;  // the directory that holds all of them, "memory", say
    // By the name below the root; the bytes, or -1 where there is none.
    std::function<int64_t(const std::string& name)> size;
    // Either the bytes where they lie, which stay while the File does, or a function that fills them in.
    std::function<const std::byte*(const std::string& name)> bytes;
    std::function<void(const std::string& name, std::span<std::byte> to)> read;
};
class FileScope {
  public:
    explicit FileScope(const FileSource&);  // borrowed
    FileScope();                            // the system's files again: for what a caller's function opens
    ~FileScope();
    FileScope(const FileScope&) = delete;
    FileScope& operator=(const FileScope&) = delete;

  private:
    const FileSource* before;
};

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
    static std::shared_ptr<const File> open_in(const FileSource&, const std::string& path);
    explicit File(std::string path) : path(std::move(path)) {}
    bool mapped = false;
};

// io where the system does not say.
bool is_directory(const std::string& path);
bool file_exists(const std::string& path);
// Names of what is in it; io. A FileSource's names are not listed.
std::vector<std::string> list_directory(const std::string& path);

}  // namespace alia
