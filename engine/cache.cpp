// The KV cache's memory and its free list.
#include "engine/cache.h"

namespace alia {
namespace {

int64_t pages_of(int64_t positions) { return (positions + page_positions - 1) / page_positions; }

int64_t layer_bytes(const Config& c, int64_t positions, Format format) {
    return pages_of(positions) * page_positions * row_bytes(format, c.kv_dim());
}

}  // namespace

int64_t Cache::bytes(const Config& c, int64_t positions, Format format) {
    const bool numbers = format == Format::F32 || format == Format::F16 || format == Format::BF16;
    if (!numbers && (format != Format::Q8_0 || c.head_dim % info(format).n != 0))
        fail(Status::invalid_argument, {.file = {}, .item = "cache"},
             "the KV cache is kept in F32, F16, BF16 or, where the head dimension (%lld) is a multiple of 32, Q8_0; "
             "not in %s",
             (long long)c.head_dim, info(format).name);
    return 2 * c.layers * layer_bytes(c, positions, format);
}

Cache::Cache(Device& device, const Config& c, int64_t positions, Format format)
    : memory(device, bytes(c, positions, format)) {
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
