// Read-only mappings through POSIX.
#include "engine/file.h"

#include <cerrno>
#include <cstdint>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace alia {

std::shared_ptr<const File> File::open(const std::string& path) {
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
    struct stat about;
    return ::stat(path.c_str(), &about) == 0 && S_ISDIR(about.st_mode);
}

bool file_exists(const std::string& path) {
    struct stat about;
    return ::stat(path.c_str(), &about) == 0;
}

}  // namespace alia
