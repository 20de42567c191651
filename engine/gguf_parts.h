// The names of the parts of a split GGUF: PREFIX-00001-of-00003.gguf.
#pragma once
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>

namespace alia {

struct SplitName {
    std::string prefix;  // with the directory
    int number = 0, count = 0;

    static std::optional<SplitName> of(std::string_view path) {
        constexpr std::string_view pattern = "-ddddd-of-ddddd.gguf";
        if (path.size() <= pattern.size()) return {};
        std::string_view end = path.substr(path.size() - pattern.size());
        int numbers[2] = {}, *number = numbers;
        for (size_t i = 0; i < pattern.size(); ++i) {
            bool digit = pattern[i] == 'd';
            if (digit ? end[i] < '0' || end[i] > '9' : end[i] != pattern[i]) return {};
            if (digit) *number = *number * 10 + (end[i] - '0');
            if (i == 5) ++number;
        }
        if (numbers[0] < 1 || numbers[0] > numbers[1]) return {};
        return SplitName{std::string(path.substr(0, path.size() - pattern.size())), numbers[0], numbers[1]};
    }

    std::string part(int i) const {
        char end[40];
        std::snprintf(end, sizeof end, "-%05d-of-%05d.gguf", i, count);
        return prefix + end;
    }
};

}  // namespace alia
