// The processors that this process may use.
#pragma once
#include <string>
#include <vector>

namespace alia {

struct Processors {
    int online = 1;            // that the machine has
    std::vector<int> allowed;  // numbers of those in the affinity mask; none where the system does not say
    double quota = 0;          // of whose time the control group allows in all; 0: no limit

    // How many threads of one process they are good for, at least 1: the quota is rounded up.
    int usable() const;
};

// `root` is put before the paths of the system's files.
Processors read_processors(const std::string& root = {});

// What `threads` stands for: 0 is as many as are usable.
int thread_count(int threads);

}  // namespace alia
