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
}  // namespace

extern const Kernels ALIA_TABLE;
const Kernels ALIA_TABLE = {
    .name = ALIA_NAME(ALIA_TABLE),
    .cache_format = Format::F16,
    .open = open,
    .close = cpu::close_pool,
    .allocate = host::allocate,
    .release = host::release,
    .write = host::copy,
    .read = host::copy,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .embed = embed,
    .norm = norm,
    .linear = linear,
    .scratch_bytes = scratch_bytes,
    .angles = angles,
    .rotate = rotate,
    .store = store_heads,
    .attend = attend,
    .glu = glu,
    .add = add,
    .rows = rows,
    .columns = columns,
    .sample = sample,
    .measure = measure,
};

}  // namespace alia
