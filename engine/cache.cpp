// The KV cache's memory and its free list.
#include "engine/cache.h"

#include <cstdio>

namespace alia {
namespace {

int64_t pages_of(int64_t positions) { return (positions + page_positions - 1) / page_positions; }

int64_t layer_bytes(const Config& c, int64_t positions, Format format) {
    return pages_of(positions) * page_positions * row_bytes(format, c.kv_dim());
}

}  // namespace

int64_t Cache::bytes(const Kernels& kernels, const Config& c, int64_t positions, Format format) {
    if (!kernels.caches(format, c.head_dim)) {
        char known[100] = "";
        for (int f = 0; f < Formats::size; ++f)
            if (kernels.caches(Format(f), c.head_dim))
                std::snprintf(known + std::strlen(known), sizeof known - std::strlen(known), "%s%s", *known ? ", " : "",
                              info(Format(f)).name);
        fail(Status::invalid_argument, {.file = {}, .item = "cache"},
             "%s keeps the KV cache of this model (head dimension %lld) in %s; not in %s", kernels.name,
             (long long)c.head_dim, known, info(format).name);
    }
    return 2 * c.layers * layer_bytes(c, positions, format);
}

Cache::Cache(Device& device, const Config& c, int64_t positions, Format format)
    : memory(device, bytes(device.kernels, c, positions, format)) {
    std::byte* next = memory.data();
    for (auto* side : {&view.k, &view.v})
        for (int64_t l = 0; l < c.layers; ++l, next += layer_bytes(c, positions, format))
            side->push_back(
                {next, pages_of(positions) * page_positions, c.kv_dim(), row_bytes(format, c.kv_dim()), format});
    for (int64_t page = pages_of(positions); page-- > 0;) available.push_back(int32_t(page));
}

int32_t Cache::take_page() {
    if (available.empty()) fail(Status::context_full, "every page of the KV cache is taken");
    const int32_t page = available.back();
    available.pop_back();
    return page;
}

void Cache::give_page(int32_t page) noexcept { available.push_back(page); }

}  // namespace alia
