// Which CPU tables this processor runs.
#include "kernels/cpu/isa.h"

namespace alia::cpu {

std::span<const Kernels* const> tables() {
    static constexpr const Kernels* list[] = {&cpu_base};
    return list;
}

const Kernels* find(std::string_view isa) {
    if (isa.empty()) return tables().front();
    for (const Kernels* k : tables())
        if (std::string_view(k->name).substr(4) == isa) return k;  // "cpu_" before it
    return nullptr;
}

}  // namespace alia::cpu
