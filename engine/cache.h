// The KV cache: pages of 64 positions of every layer.
#pragma once
#include "engine/model.h"
#include "engine/pages.h"

namespace alia {

class Cache {
  public:
    // Room for `positions` (rounded up to pages) of every layer, in `format`, and, where the device replays passes, for
    // one more page that padding is written to. The device outlives it.
    Cache(Device&, const Config&, int64_t positions, Format format);

    // invalid_argument, naming "cache", where the table does not keep K and V in this format.
    static int64_t bytes(const Kernels&, const Config&, int64_t positions, Format format);

    // [layers] of [slots][kv_dim]; slot = page * page_positions + offset.
    struct View {
        std::vector<Tensor> k, v;
    };
    View view;
    Pages pages;
    const int32_t padding_page;  // the page behind the last

    // A page's K and V as the table lays them out: of each layer K, then V.
    int64_t page_bytes() const { return 2 * int64_t(view.k.size()) * side_bytes(); }
    void read_page(int32_t page, std::byte* to) const;
    void write_page(int32_t page, const std::byte* from);
    void copy_page(int32_t from, int32_t to);

  private:
    int64_t side_bytes() const { return page_positions * view.k[0].stride; }

    Device& device;
    Buffer memory;
    std::vector<std::byte> side;  // of one layer and page, on its way
};

}  // namespace alia
