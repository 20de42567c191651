// The forward pass of the Llama family.
#include "engine/forward.h"

namespace alia {

Rows forward(Ops op, const Model& m, const Cache::View& kv, const Batch& b, int logits) {
    const Config& c = m.config;
    Tensor x = op.embed(m.embed, b.token, b.n);
    Tensor angles = op.angles(b.position, b.n, m.rope);
    Tensor h = op.norm(x, m.layers[0].attn_norm, c.eps);  // what the next product reads

    for (int64_t l = 0; l < c.layers; ++l) {
        const Layer& w = m.layers[l];
        auto scope = op.scope();  // temporaries made below end with the layer

        Tensor qkv = op.linear(h, w.qkv);
        Tensor q = qkv.slice(0, c.q_dim()), k = qkv.slice(c.q_dim(), c.kv_dim());
        Tensor v = qkv.slice(c.q_dim() + c.kv_dim(), c.kv_dim());
        op.rotate_store(q, k, v, angles, kv.k[l], kv.v[l], b.slot);
        op.add_norm(h, x, op.linear(op.attend(q, kv.k[l], kv.v[l], b, c.head_dim), w.o), w.ffn_norm, c.eps);

        const float* next = l + 1 < c.layers ? m.layers[l + 1].attn_norm : m.norm;
        op.add_norm(h, x, op.linear(op.linear_glu(h, w.gate_up), w.down), next, c.eps);
    }

    Tensor rows = op.rows(h, b.output, b.outputs), hidden = rows;
    rows.rows = logits;
    hidden.rows = b.outputs - logits;
    if (hidden.data) hidden.data = rows.row(logits);
    return {op.linear(rows, m.head), hidden};
}

}  // namespace alia
