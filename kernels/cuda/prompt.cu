// Products for prompts: blocks of 128 rows of w by 128 of x, K in one piece. Formats that are not tuned take the
// kernels of generated tokens.
#include "kernels/cuda/by_format.h"
#include "kernels/cuda/table.h"
#include "kernels/cuda/tile.h"

namespace alia::cuda {
namespace {

template <class F, bool glu>
__global__ void __launch_bounds__(wide_threads) prompt_kernel(Product p, int w_blocks, int x_blocks) {
    wide_product<F, 4, 4, 1, glu>(p, w_blocks, x_blocks);
}

template <class F, bool glu>
void prompt(Queue& q, const Product& p) {
    using W = Wide<F, 4, 4>;
    const int w_blocks = int(divide_up(p.tiles, W::tiles)), x_blocks = int(divide_up(p.n, W::columns));
    launch(q, prompt_kernel<F, glu>, {dim3(unsigned(w_blocks * x_blocks)), wide_threads, wide_stages * W::stage}, p,
           w_blocks, x_blocks);
}

template <class F>
void linear(Queue& q, Tensor y, Tensor x, Tensor w) {
    if constexpr (tuned<F>)
        prompt<F, false>(q, product<F>(y, x, w));
    else
        linear_generated(q, y, x, w);
}

template <class F>
void linear_glu(Queue& q, Tensor y, Tensor x, Tensor w, Tensor both) {
    if constexpr (tuned<F>)
        if (pairs(w)) return prompt<F, true>(q, product<F>(y, x, w));
    linear<F>(q, both, x, w);
    glu(reinterpret_cast<Stream*>(&q), y, both);
}

}  // namespace

void linear_prompt(Queue& q, Tensor y, Tensor x, Tensor w) {
    by_format(w.format, [&]<class F>(List<F>) { linear<F>(q, y, x, w); });
}

void linear_glu_prompt(Queue& q, Tensor y, Tensor x, Tensor w, Tensor both) {
    by_format(w.format, [&]<class F>(List<F>) { linear_glu<F>(q, y, x, w, both); });
}

}  // namespace alia::cuda
