// What the system says of the machine and of what this process may have of it.
#include "bindings/cli/machine.h"

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string_view>

namespace cli {
namespace {

// The first line of a small file, or "".
std::string first_line(const char* path) {
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    return line;
}

// What stands behind "name:" or "name   :" in a file of such lines.
std::string value_of(const char* path, std::string_view name) {
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
        const size_t colon = line.find(':');
        if (colon == line.npos || line.substr(0, line.find_last_not_of(" \t", colon - 1) + 1) != name) continue;
        const size_t at = line.find_first_not_of(" \t", colon + 1);
        return at == line.npos ? "" : line.substr(at);
    }
    return {};
}

int64_t memory_of(std::string_view name) {  // /proc/meminfo counts in KiB
    return std::strtoll(value_of("/proc/meminfo", name).c_str(), nullptr, 10) * 1024;
}

bool is_vector(std::string_view flag) {
    for (std::string_view start : {"sse4", "avx", "f16c", "fma", "amx", "neon", "asimd", "sve", "bf16", "i8mm"})
        if (flag.starts_with(start)) return true;
    return false;
}

}  // namespace

Machine read_machine() {
    Machine m;
    constexpr const char* processor = "/proc/cpuinfo";
    m.processor = value_of(processor, "model name");
    std::string flags = value_of(processor, "flags");
    if (flags.empty()) flags = value_of(processor, "Features");
    std::istringstream words(flags);
    for (std::string flag; words >> flag;)
        if (is_vector(flag)) m.instructions += (m.instructions.empty() ? "" : " ") + flag;
    m.memory = memory_of("MemTotal");
    m.available = memory_of("MemAvailable");
    m.group_memory = std::strtoll(first_line("/sys/fs/cgroup/memory.max").c_str(), nullptr, 10);  // "max": 0
    if (m.group_memory > 0)
        m.group_used = std::strtoll(first_line("/sys/fs/cgroup/memory.current").c_str(), nullptr, 10);
    const std::string pages = first_line("/sys/kernel/mm/transparent_hugepage/enabled");  // "always [madvise] never"
    if (const size_t open = pages.find('['), close = pages.find(']'); open < close && close != pages.npos)
        m.huge_pages = pages.substr(open + 1, close - open - 1);
    return m;
}

}  // namespace cli
