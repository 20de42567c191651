// Read-only mappings through POSIX.
#include "engine/file.h"

#include <cerrno>
#include <cstdint>
#include <fcntl.h>
#include <filesystem>
#include <optional>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace alia {
namespace {

constinit thread_local const FileSource* source = nullptr;

// The name below the source's root, or nothing where the path lies elsewhere.
std::string name_in(const FileSource& s, const std::string& path) {
    const std::string begin = s.root + "/";
    return path.starts_with(begin) ? path.substr(begin.size()) : std::string();
}

// Nothing where there is no such file; where the system does not say, that is no answer.
std::optional<struct stat> look_at(const std::string& path) {
    struct stat about;
    if (::stat(path.c_str(), &about) == 0) return about;
    if (errno != ENOENT && errno != ENOTDIR) fail(Status::io, {path}, "cannot look for it: %s", std::strerror(errno));
    return {};
}

// Memory of its own, which goes page by page as it is forgotten.
std::span<std::byte> take_memory(const std::string& path, int64_t size) {
    void* memory = ::mmap(nullptr, size_t(size), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        fail(Status::out_of_memory, {path}, "there is no memory for its %lld bytes", (long long)size);
    return {static_cast<std::byte*>(memory), size_t(size)};
}

}  // namespace

FileScope::FileScope(const FileSource& s) : before(source) { source = &s; }
FileScope::FileScope() : before(source) { source = nullptr; }
FileScope::~FileScope() { source = before; }

std::shared_ptr<const File> File::open_in(const FileSource& s, const std::string& path) {
    const std::string name = name_in(s, path);
    const int64_t size = name.empty() ? -1 : s.size(name);
    if (size < 0) fail(Status::not_found, {path}, "is not among the files that were given");
    std::shared_ptr<File> result(new File(path));
    if (size == 0) return result;
    if (s.bytes) {
        result->bytes = {s.bytes(name), size_t(size)};
        return result;
    }
    const std::span<std::byte> memory = take_memory(path, size);
    result->bytes = memory;
    result->mapped = true;
    s.read(name, memory);
    return result;
}

std::shared_ptr<const File> File::open(const std::string& path) {
    if (source) return open_in(*source, path);
    struct Descriptor {
        int number;
        ~Descriptor() {
            if (number >= 0) ::close(number);
        }
    };
    // Without O_NONBLOCK the opening of a pipe would wait for a writer.
    Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    if (file.number < 0) {
        auto status = errno == ENOENT || errno == ENOTDIR ? Status::not_found : Status::io;
        fail(status, {path}, "cannot open: %s", std::strerror(errno));
    }
    struct stat about;
    if (::fstat(file.number, &about)) fail(Status::io, {path}, "cannot ask for its size: %s", std::strerror(errno));
    if (!S_ISREG(about.st_mode)) fail(Status::io, {path}, "is not a regular file");

    std::shared_ptr<File> result(new File(path));
    if (about.st_size == 0) return result;
    void* memory = ::mmap(nullptr, size_t(about.st_size), PROT_READ, MAP_PRIVATE, file.number, 0);
    if (memory == MAP_FAILED) fail(Status::io, {path}, "cannot map: %s", std::strerror(errno));
    result->bytes = {static_cast<const std::byte*>(memory), size_t(about.st_size)};
    result->mapped = true;
    return result;
}

std::shared_ptr<const File> File::from_memory(std::string name, std::span<const std::byte> bytes) {
    std::shared_ptr<File> result(new File(std::move(name)));
    result->bytes = bytes;
    return result;
}

File::~File() {
    if (mapped) ::munmap(const_cast<std::byte*>(bytes.data()), bytes.size());
}

void File::forget(const std::byte* data, size_t size) const {
    if (!mapped) return;
    // Whole pages inside the range: its neighbours share the first and the last.
    uintptr_t page = uintptr_t(::sysconf(_SC_PAGESIZE)), begin = reinterpret_cast<uintptr_t>(data), end = begin + size;
    begin = (begin + page - 1) / page * page;
    end = end / page * page;
    if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

bool is_directory(const std::string& path) {
    if (source) return path == source->root;
    const auto about = look_at(path);
    return about && S_ISDIR(about->st_mode);
}

bool file_exists(const std::string& path) {
    if (source) {
        const std::string name = name_in(*source, path);
        return !name.empty() && source->size(name) >= 0;
    }
    return look_at(path).has_value();
}

std::vector<std::string> list_directory(const std::string& path) {
    std::vector<std::string> names;
    if (source) return names;
    std::error_code error;
    for (std::filesystem::directory_iterator it(path, error), end; !error && it != end; it.increment(error))
        names.push_back(it->path().filename().string());
    if (error) fail(Status::io, {path}, "cannot list: %s", error.message().c_str());
    return names;
}

}  // namespace alia
