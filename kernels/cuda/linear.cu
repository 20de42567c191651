// Which kernel multiplies: by a token's role, the weights' format and the device, never by how many rows there are.
#include "kernels/cuda/launch.h"
#include "kernels/cuda/table.h"

namespace alia::cuda {

void linear(Stream* s, Role role, Tensor y, Tensor x, Tensor w, void*) {
    if (role == Role::generated) return linear_generated(queue(s), y, x, w);
    linear_prompt(queue(s), y, x, w);
}

void linear_glu(Stream* s, Role role, Tensor y, Tensor x, Tensor w, Tensor both, void*) {
    if (role == Role::generated) return linear_glu_generated(queue(s), y, x, w, both);
    linear_glu_prompt(queue(s), y, x, w, both);
}

int64_t scratch_bytes(Format, int64_t, int64_t) { return 0; }

}  // namespace alia::cuda
