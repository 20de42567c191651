// Repeated measurements in three numbers.
#pragma once
#include <algorithm>
#include <vector>

namespace cli {

struct Spread {
    double low = 0, median = 0, high = 0;
};

// Of an even number of values, the median is the mean of the two in the middle. Zeros where there are none.
inline Spread spread(std::vector<double> values) {
    if (values.empty()) return {};
    std::sort(values.begin(), values.end());
    const size_t n = values.size();
    return {values.front(), (values[(n - 1) / 2] + values[n / 2]) / 2, values.back()};
}

}  // namespace cli
