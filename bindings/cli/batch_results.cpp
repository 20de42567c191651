// The file of a batch's results: JSON Lines that grow at the end, whatever interrupts them.
#include "bindings/cli/batch_results.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bindings/cli/client.h"
#include "bindings/cli/json.h"

namespace cli {

BatchResults::BatchResults(std::string p) : path(std::move(p)) {
    file = open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (file < 0) fail();
    try {
        struct stat there;
        if (fstat(file, &there) != 0) fail();
        if (!S_ISREG(there.st_mode)) throw Failure(path + ": is no file that results can be appended to");
        if (flock(file, LOCK_EX | LOCK_NB) != 0) throw Failure(path + ": another process writes it", ALIA_BUSY);
        read();
    } catch (...) {
        close(file);
        throw;
    }
}

BatchResults::~BatchResults() { close(file); }

void BatchResults::read() {
    const std::string all = read_file(path);
    size_t at = 0;
    for (int64_t number = 1; at < all.size(); ++number) {
        const size_t end = all.find('\n', at);
        if (end == all.npos) break;
        const ResultLine r = result_of(all.substr(at, end - at), path + ", line " + std::to_string(number));
        lines[r.line] = {r.input, r.options, r.model, r.failed};
        at = end + 1;
    }
    if (at < all.size() && ftruncate(file, off_t(at)) != 0) fail();
}

void BatchResults::append(int64_t number, const Line& line, const std::string& members) {
    const std::string text = "{\"line\": " + std::to_string(number) + ", \"input\": " + json_string(line.input) +
                             ", \"options\": " + json_string(line.options) + ", \"model\": " + json_string(line.model) +
                             ", " + members + "}\n";
    for (size_t at = 0; at < text.size();) {
        const ssize_t n = write(file, text.data() + at, text.size() - at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) fail();
        at += size_t(n);
    }
    lines[number] = line;
    synced = false;
    if (const auto now = std::chrono::steady_clock::now(); now >= next_sync) {
        sync();
        next_sync = now + std::chrono::seconds(1);
    }
}

void BatchResults::sync() {
    if (!synced && fsync(file) != 0) fail();
    synced = true;
}

void BatchResults::fail() const { throw Failure(path + ": " + std::strerror(errno), ALIA_IO); }

std::string fingerprint(std::string_view bytes) {
    uint64_t hash = 0xCBF29CE484222325;  // FNV-1a
    for (char c : bytes) hash = (hash ^ uint8_t(c)) * 0x100000001B3;
    char text[20];
    std::snprintf(text, sizeof text, "%016llx", (unsigned long long)hash);
    return text;
}

}  // namespace cli
