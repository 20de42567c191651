// Small kernels, right and wrong, that show what the emulated device notices.
#pragma once
#include <span>

namespace emulated {

struct Trial {
    const char* name;
    const char* found;  // part of the report, or null where the kernel is right
    void (*launch)();
    const char* or_found = nullptr;  // what some orders meet first
};
std::span<const Trial> trials();

// Numbers come by one stream and are summed on another, which waits for an event of the first.
void sum_copied();

}  // namespace emulated
