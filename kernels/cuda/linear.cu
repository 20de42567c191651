// Which kernel multiplies: by a token's role, the weights and the device, never by how many rows there are.
#include "kernels/cuda/launch.h"
#include "kernels/cuda/table.h"

namespace alia::cuda {

void linear(Stream* s, Role role, Tensor y, Tensor x, Tensor w, void* scratch) {
    Queue& q = queue(s);
    if (role == Role::generated) return linear_generated(q, y, x, w);
    if (w.e4m3_inputs && q.code >= 89) return linear_e4m3(q, y, x, w, scratch);
    linear_prompt(q, y, x, w);
}

void linear_glu(Stream* s, Role role, Tensor y, Tensor x, Tensor w, Tensor both, void* scratch) {
    Queue& q = queue(s);
    if (role == Role::generated) return linear_glu_generated(q, y, x, w, both);
    if (w.e4m3_inputs && q.code >= 89) return linear_glu_e4m3(q, y, x, w, both, scratch);
    linear_glu_prompt(q, y, x, w, both);
}

int64_t scratch_bytes(Format f, int64_t rows, int64_t columns) {
    return f == Format::E4M3 ? e4m3_bytes(rows, columns) : 0;
}

}  // namespace alia::cuda
