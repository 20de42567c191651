// What long work tells of itself.
#pragma once
#include <cstdint>
#include <functional>

#include "kernels/error.h"

namespace alia {

// A phase begins with `done` 0. One whose length is not known has `total` 0 and tells nothing more.
struct Progress {
    const char* phase;
    int64_t done, total;
};
using ProgressCallback = std::function<bool(const Progress&)>;  // false stops the work

inline void tell(const ProgressCallback& callback, const Progress& progress) {
    if (callback && !callback(progress)) fail(Status::cancelled, "cancelled in the phase \"%s\"", progress.phase);
}

}  // namespace alia
