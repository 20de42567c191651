// What the CUDA folder gives to kernels/device.cpp; none.cpp defines it where CUDA is not built.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "kernels/error.h"
#include "kernels/ops.h"

namespace alia::cuda {

// The table of "cuda" (the first card that its kernels run on) or "cuda:N", and which card; device_unavailable with
// what to do about it.
const Kernels& find(std::string_view name, int& ordinal);
int devices();  // that can be used now

struct Card {
    std::string name;  // "cuda:0"
    std::string title;
    int capability = 0;  // 10 * major + minor
    int64_t memory = 0;  // bytes, of the whole card
    std::string reason;  // why the kernels do not run on it; "" where they do
};
struct Report {
    bool built = false;
    int driver = 0, runtime = 0;  // the newest CUDA of the driver, and this build's: 1000 * major + 10 * minor; 0: none
    std::string reason;           // why there are no cards
    std::vector<Card> cards;
};
Report report();

}  // namespace alia::cuda
