// A file that takes its name when it is whole.
#include "bindings/cli/output_file.h"

#include <cerrno>
#include <cstring>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include "bindings/cli/client.h"

namespace cli {

OutputFile::OutputFile(std::string p) : path(std::move(p)), temporary(path + ".part-" + std::to_string(getpid())) {
    struct stat there;
    if (stat(path.c_str(), &there) == 0 && !S_ISREG(there.st_mode))
        throw Failure(path + ": is a directory or a device, which a file cannot replace");
    file = std::fopen(temporary.c_str(), "wbxe");
    if (!file) fail();
}

OutputFile::~OutputFile() {
    if (!file) return;
    std::fclose(file);
    unlink(temporary.c_str());
}

void OutputFile::write(const void* bytes, size_t size) {
    if (std::fwrite(bytes, 1, size, file) != size) fail();
}

void OutputFile::finish() {
    if (std::fflush(file) != 0 || fsync(fileno(file)) != 0 || std::rename(temporary.c_str(), path.c_str()) != 0) fail();
    std::fclose(std::exchange(file, nullptr));
}

void OutputFile::fail() const { throw Failure(path + ": " + std::strerror(errno), ALIA_IO); }

}  // namespace cli
