// Temporary file, fsync, rename.
#include "engine/output_file.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include "kernels/error.h"

namespace alia {
namespace {

// A new name lasts only once its folder is on the disk; file systems that cannot sync a folder do not need it.
void sync_folder(const std::string& path) {
    const size_t slash = path.rfind('/');
    const std::string folder = slash == path.npos ? "." : path.substr(0, slash + 1);
    const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0) return;
    ::fsync(descriptor);
    ::close(descriptor);
}

}  // namespace

OutputFile::OutputFile(std::string p) : path(std::move(p)) {
    struct stat there;
    if (::stat(path.c_str(), &there) == 0 && !S_ISREG(there.st_mode))
        fail(Status::invalid_argument, {path}, "is a directory or a device, which a file cannot replace");
    for (int attempt = 0; descriptor < 0; ++attempt) {
        temporary = path + ".part-" + std::to_string(::getpid()) + "-" + std::to_string(attempt);
        descriptor = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (descriptor < 0 && (errno != EEXIST || attempt == 1000)) failed("cannot create");
    }
}

OutputFile::~OutputFile() {
    if (descriptor < 0) return;
    ::close(descriptor);
    ::unlink(temporary.c_str());
}

void OutputFile::failed(const char* what) const {
    const auto status = errno == ENOENT || errno == ENOTDIR ? Status::not_found : Status::io;
    fail(status, {path}, "%s: %s", what, std::strerror(errno));
}

void OutputFile::reserve(int64_t bytes) {
    if (bytes <= 0) return;
    int error;
    do error = ::posix_fallocate(descriptor, 0, bytes);
    while (error == EINTR);
    if (error == 0 || error == EINVAL || error == EOPNOTSUPP) return;
    errno = error;
    failed("cannot take room for it");
}

void OutputFile::write(std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t n = ::write(descriptor, bytes.data(), bytes.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) failed("cannot write");
        bytes.remove_prefix(size_t(n));
    }
}

void OutputFile::finish() {
    if (::fsync(descriptor) != 0) failed("cannot write");
    if (::rename(temporary.c_str(), path.c_str()) != 0) failed("cannot give it its name");
    ::close(std::exchange(descriptor, -1));
    sync_folder(path);
}

}  // namespace alia
