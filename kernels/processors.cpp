// Affinity, and the CPU quotas of both versions of control groups.
#include "kernels/processors.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sched.h>
#include <thread>

namespace alia {
namespace {

// A group's own limit in processors; infinite where it has none ("max" and -1) or its files are not there.
double group_limit(const std::string& group, bool unified) {
    double quota = 0, period = 0;
    if (unified) {
        std::ifstream(group + "/cpu.max") >> quota >> period;
    } else {
        std::ifstream(group + "/cpu.cfs_quota_us") >> quota;
        std::ifstream(group + "/cpu.cfs_period_us") >> period;
    }
    return quota > 0 && period > 0 ? quota / period : INFINITY;
}

// The least limit of a group and of those that it lies in, up to the mount. A container may see its own group as the
// mount and yet be told the host's name of it: such a path just holds no files.
double least_limit(const std::string& mount, std::string group, bool unified) {
    double least = group_limit(mount, unified);
    for (size_t slash; (slash = group.rfind('/')) != group.npos; group.resize(slash))
        least = std::min(least, group_limit(mount + group, unified));
    return least;
}

// Lines of /proc/self/cgroup: "0::/GROUP" of version 2, "NUMBER:cpu,cpuacct:/GROUP" of version 1, or both.
double read_quota(const std::string& root) {
    double least = INFINITY;
    std::ifstream groups(root + "/proc/self/cgroup");
    for (std::string line; std::getline(groups, line);) {
        const size_t first = line.find(':'), second = first == line.npos ? first : line.find(':', first + 1);
        if (second == line.npos) continue;
        const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
        const bool unified = controllers == ",,";
        if (!unified && controllers.find(",cpu,") == line.npos) continue;
        const std::string mount = root + (unified ? "/sys/fs/cgroup" : "/sys/fs/cgroup/cpu");
        least = std::min(least, least_limit(mount, line.substr(second + 1), unified));
    }
    return std::isinf(least) ? 0 : least;
}

}  // namespace

int Processors::usable() const {
    const int most = allowed.empty() ? online : int(allowed.size());
    return std::max(quota > 0 && std::ceil(quota) < most ? int(std::ceil(quota)) : most, 1);
}

Processors read_processors(const std::string& root) {
    Processors p;
    p.online = std::max(int(std::thread::hardware_concurrency()), 1);
    cpu_set_t mask;  // has room for 1,024 processors; beyond, the system does not say
    if (sched_getaffinity(0, sizeof mask, &mask) == 0)
        for (int i = 0; i < CPU_SETSIZE; ++i)
            if (CPU_ISSET(i, &mask)) p.allowed.push_back(i);
    p.quota = read_quota(root);
    return p;
}

int thread_count(int threads) { return threads > 0 ? threads : read_processors().usable(); }

}  // namespace alia
