// From a format's number to what was compiled for that format.
#pragma once
#include "kernels/formats.h"

namespace alia::cuda {

template <class Function, class... F>
auto by_format(Format f, const Function& function, List<F...>) {
    using Result = decltype(function(List<F32>()));
    static constexpr Result (*calls[])(const Function&) = {[](const Function& g) { return g(List<F>()); }...};
    return calls[int(f)](function);
}
// function(List<F>()), where F is the format.
template <class Function>
auto by_format(Format f, const Function& function) {
    return by_format(f, function, Formats());
}

}  // namespace alia::cuda
