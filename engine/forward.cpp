// The forward pass of the Llama family.
#include "engine/forward.h"

namespace alia {

Tensor forward(Ops op, const Model& m, const Cache::View& kv, const Batch& b) {
    const Config& c = m.config;
    Tensor x = op.embed(m.embed, b.token, b.n);
    Tensor angles = op.angles(b.position, b.n, m.rope);

    for (int64_t l = 0; l < c.layers; ++l) {
        const Layer& w = m.layers[l];
        auto scope = op.scope();  // temporaries made below end with the layer

        Tensor h = op.norm(x, w.attn_norm, c.eps);
        Tensor qkv = op.linear(h, w.qkv);
        Tensor q = qkv.slice(0, c.q_dim()), k = qkv.slice(c.q_dim(), c.kv_dim());
        Tensor v = qkv.slice(c.q_dim() + c.kv_dim(), c.kv_dim());
        op.rotate(q, angles);
        op.rotate(k, angles);
        op.store(kv.k[l], kv.v[l], k, v, b.slot, c.head_dim);
        op.add(x, op.linear(op.attend(q, kv.k[l], kv.v[l], b, c.head_dim), w.o));

        h = op.norm(x, w.ffn_norm, c.eps);
        op.add(x, op.linear(op.glu(op.linear(h, w.gate_up)), w.down));
    }

    x = op.norm(op.rows(x, b.output, b.outputs), m.norm, c.eps);
    return op.linear(x, m.head);
}

}  // namespace alia
