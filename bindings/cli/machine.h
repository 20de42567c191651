// What the system says of the machine and of what this process may have of it.
#pragma once
#include <cstdint>
#include <string>

namespace cli {

struct Machine {
    std::string processor;     // its model, or ""
    std::string instructions;  // the vector ones, parted by spaces
    int64_t memory = 0;        // bytes, of the machine
    int64_t available = 0;     // bytes that the system can still give
    int64_t group_memory = 0;  // bytes, the control group's limit; 0: none
    int64_t group_used = 0;    // bytes
    std::string huge_pages;    // "always", "madvise" or "never"; "" where the system has none
};
Machine read_machine();

}  // namespace cli
