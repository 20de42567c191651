// The CPU's table, compiled once per instruction set under the name ALIA_TABLE. Only the table may leave this object: a
// weak symbol made with one set's flags could be chosen for every other. So the files included here use no standard
// containers or algorithms, and tests/symbols.py looks.
#include "kernels/cpu/attention.h"
#include "kernels/cpu/matmul.h"
#include "kernels/cpu/pointwise.h"
#include "kernels/cpu/roofs.h"
#include "kernels/cpu/sample.h"
#include "kernels/host.h"

#define ALIA_TEXT(x) #x
#define ALIA_NAME(x) ALIA_TEXT(x)

namespace alia {
namespace {

Stream* open(const DeviceOptions& o) { return cpu::open_pool(o.threads, o.pin); }

void linear_glu(Stream* s, Role role, Tensor y, Tensor x, Tensor w, Tensor both, void* scratch) {
    linear(s, role, both, x, w, scratch);
    glu(s, y, both);
}

// Of few rows, whoever stores a head also turns it and the queries that read it, and will attend to them.
void rotate_store(Stream* s, Tensor q, Tensor k, Tensor v, Tensor angles, Tensor k_cache, Tensor v_cache,
                  const int32_t* slot) {
    const int64_t dim = angles.columns, group = q.columns / k.columns * dim;
    const bool few = q.rows <= most_split_rows;
    if (!few) {
        rotate(s, q, angles);
        rotate(s, k, angles);
    }
    store_heads(s, k_cache, v_cache, k, v, slot, int(dim), [&](int64_t head, int64_t row) {
        if (!few) return;
        for (int64_t d = head * group; d < (head + 1) * group; d += dim)
            rotate_head(q.row(row) + d, angles.row(row), dim / 2);
        rotate_head(k.row(row) + head * dim, angles.row(row), dim / 2);
    });
}

void draw(Stream* s, Tensor w, uint64_t seed) { host::draw(s, w, seed, pack); }

bool caches(Format f, int64_t head_dim) {
    return f == Format::F32 || f == Format::F16 || f == Format::BF16 || (f == Format::Q8_0 && head_dim % Q8_0::n == 0);
}

}  // namespace

extern const Kernels ALIA_TABLE;
const Kernels ALIA_TABLE = {
    .name = ALIA_NAME(ALIA_TABLE),
    .cache_format = Format::F16,
    .operand_format = Format::F32,
    .host_embeddings = false,
    .replays = false,
    .staging_bytes = 0,
    .open = open,
    .close = cpu::close_pool,
    .free_bytes = host::free_bytes,
    .sample_bytes = host::sample_bytes,
    .reserve = host::reserve,
    .allocate = host::allocate,
    .release = host::release,
    .write = host::copy,
    .read = host::copy,
    .run = host::run,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .end_packing = host::end_packing,
    .embed = embed,
    .norm = norm,
    .add_norm = add_norm,
    .linear = linear,
    .scratch_bytes = scratch_bytes,
    .linear_glu = linear_glu,
    .glu = glu,
    .angles = angles,
    .rotate_store = rotate_store,
    .caches = caches,
    .attend = attend,
    .attend_bytes = attend_bytes,
    .rows = rows,
    .columns = columns,
    .sample = sample,
    .read_rate = read_rate,
    .measure = measure,
    .draw = draw,
};

}  // namespace alia
