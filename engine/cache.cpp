// The KV cache's memory.
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
    return 2 * c.layers * layer_bytes(c, positions + (kernels.replays ? page_positions : 0), format);
}

Cache::Cache(Device& device, const Config& c, int64_t positions, Format format)
    : pages(int32_t(pages_of(positions))),
      padding_page(pages.count()),
      device(device),
      memory(device, bytes(device.kernels, c, positions, format)) {
    if (device.kernels.replays) positions += page_positions;
    std::byte* next = memory.data();
    for (auto* all : {&view.k, &view.v})
        for (int64_t l = 0; l < c.layers; ++l, next += layer_bytes(c, positions, format))
            all->push_back(
                {next, pages_of(positions) * page_positions, c.kv_dim(), row_bytes(format, c.kv_dim()), format});
    side.resize(size_t(side_bytes()));
}

void Cache::read_page(int32_t page, std::byte* to) const {
    for (size_t l = 0; l < view.k.size(); ++l)
        for (const Tensor& t : {view.k[l], view.v[l]}) {
            device.kernels.read(device.stream, to, t.row(int64_t(page) * page_positions), side_bytes());
            to += side_bytes();
        }
}

void Cache::write_page(int32_t page, const std::byte* from) {
    for (size_t l = 0; l < view.k.size(); ++l)
        for (const Tensor& t : {view.k[l], view.v[l]}) {
            device.kernels.write(device.stream, t.row(int64_t(page) * page_positions), from, side_bytes());
            from += side_bytes();
        }
}

void Cache::copy_page(int32_t from, int32_t to) {
    for (size_t l = 0; l < view.k.size(); ++l)
        for (const Tensor& t : {view.k[l], view.v[l]}) {
            device.kernels.read(device.stream, side.data(), t.row(int64_t(from) * page_positions), side_bytes());
            device.kernels.write(device.stream, t.row(int64_t(to) * page_positions), side.data(), side_bytes());
        }
}

}  // namespace alia
