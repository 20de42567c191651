// Operations as expressions over a backend's table.
#include "engine/expr.h"

namespace alia {
namespace {

void expect(bool right, const char* operation, Tensor a, Tensor b) {
    if (!right)
        fail(Status::internal, "%s: shapes [%lld][%lld] and [%lld][%lld] do not fit", operation, (long long)a.rows,
             (long long)a.columns, (long long)b.rows, (long long)b.columns);
}

}  // namespace

void* Arena::take(int64_t bytes) {
    const int64_t start = used;
    used += (bytes + 63) / 64 * 64;
    highest = std::max(highest, used);
    if (memory && used > size)
        fail(Status::internal, "the arena of %lld bytes is too small for %lld", (long long)size, (long long)used);
    return memory ? memory + start : nullptr;
}

Tensor Ops::matrix(int64_t rows, int64_t columns, Format format) {
    const int64_t stride = row_bytes(format, columns);
    return {arena.take(rows * stride), rows, columns, stride, format};
}

Tensor Ops::embed(Tensor w, const int32_t* token, int n) {
    Tensor y = matrix(n, w.columns);
    if (!arena.measuring()) kernels.embed(stream, y, w, token);
    return y;
}

Tensor Ops::norm(Tensor x, const float* w, double eps) {
    Tensor y = operand(x.rows, x.columns);
    if (!arena.measuring()) kernels.norm(stream, y, x, w, float(eps));
    return y;
}

void Ops::add_norm(Tensor y, Tensor x, Tensor a, const float* w, double eps) {
    expect(x.rows == a.rows && x.columns == a.columns, "add_norm", x, a);
    expect(x.rows == y.rows && x.columns == y.columns, "add_norm", x, y);
    if (!arena.measuring()) kernels.add_norm(stream, y, x, a, w, float(eps));
}

Tensor Ops::linear(Tensor x, const Weight& w) {
    int64_t columns = 0;
    for (const Piece& piece : w) {
        expect(piece.columns == x.columns, "linear", x, piece);
        columns += piece.rows;
    }
    if (observer.see && !arena.measuring()) observer.see(observer.context, x, w);
    Tensor y = matrix(x.rows, columns);
    int64_t first = 0;
    for (const Piece& piece : w) {
        auto temporaries = scope();
        const Tensor in = piece.ordered ? this->columns(x, piece.order) : x;
        void* scratch = arena.take(kernels.scratch_bytes(piece.format, x.rows, x.columns));
        if (!arena.measuring()) kernels.linear(stream, role, y.slice(first, piece.rows), in, piece, scratch);
        first += piece.rows;
    }
    return y;
}

Tensor Ops::linear_glu(Tensor x, const Weight& w) {
    int64_t rows = 0;
    for (const Piece& piece : w) rows += piece.rows;
    Tensor y = operand(x.rows, rows / 2);
    auto temporaries = scope();
    if (w.size() > 1) {  // the halves' formats differ
        Tensor both = linear(x, w);
        if (!arena.measuring()) kernels.glu(stream, y, both);
        return y;
    }
    expect(w[0].columns == x.columns && rows % 2 == 0, "linear_glu", x, w[0]);
    if (observer.see && !arena.measuring()) observer.see(observer.context, x, w);
    const Tensor in = w[0].ordered ? columns(x, w[0].order) : x, both = matrix(x.rows, rows);
    void* scratch = arena.take(kernels.scratch_bytes(w[0].format, x.rows, x.columns));
    if (!arena.measuring()) kernels.linear_glu(stream, role, y, in, w[0], both, scratch);
    return y;
}

Tensor Ops::angles(const int32_t* position, int n, const Rope& rope) {
    Tensor y = matrix(n, 2 * rope.pairs);
    if (!arena.measuring()) kernels.angles(stream, y, position, rope);
    return y;
}

void Ops::rotate_store(Tensor q, Tensor k, Tensor v, Tensor angles, Tensor k_cache, Tensor v_cache,
                       const int32_t* slot) {
    expect(q.rows == angles.rows && q.columns % angles.columns == 0, "rotate_store", q, angles);
    expect(k_cache.columns == k.columns && k.columns % angles.columns == 0, "rotate_store", k_cache, k);
    expect(v_cache.columns == v.columns && v.rows == k.rows, "rotate_store", v_cache, v);
    if (!arena.measuring()) kernels.rotate_store(stream, q, k, v, angles, k_cache, v_cache, slot);
}

Tensor Ops::attend(Tensor q, Tensor k, Tensor v, const Batch& b, int64_t head_dim) {
    expect(q.rows == b.n && q.columns % k.columns == 0 && k.columns % head_dim == 0, "attend", q, k);
    expect(k.columns == v.columns && k.rows == v.rows, "attend", k, v);
    Tensor y = operand(q.rows, q.columns);
    auto temporaries = scope();
    void* scratch = arena.take(kernels.attend_bytes(b, q.columns, int(head_dim)));
    if (!arena.measuring()) kernels.attend(stream, y, q, k, v, b, int(head_dim), scratch);
    return y;
}

Tensor Ops::columns(Tensor x, const int32_t* index) {
    Tensor y = matrix(x.rows, x.columns, x.format);
    if (!arena.measuring()) kernels.columns(stream, y, x, index);
    return y;
}

Tensor Ops::rows(Tensor x, const int32_t* index, int n) {
    Tensor y = matrix(n, x.columns, x.format);
    if (!arena.measuring()) kernels.rows(stream, y, x, index);
    return y;
}

}  // namespace alia
