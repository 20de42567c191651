// What scripts/test and its user say to tests.
#pragma once
#include <cstdlib>

namespace alia {

// A budget that scripts/test sets, or `otherwise`.
inline long from_environment(const char* name, long otherwise) {
    const char* text = std::getenv(name);
    return text ? std::atol(text) : otherwise;
}

}  // namespace alia
