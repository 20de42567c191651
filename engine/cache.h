// The KV cache: pages of 64 positions, handed out from a free list.
#pragma once
#include "engine/model.h"

namespace alia {

class Cache {
  public:
    // Room for `positions` (rounded up to pages) of every layer, in `format`. The device outlives it.
    Cache(Device&, const Config&, int64_t positions, Format format);

    // invalid_argument, naming "cache", where the table does not keep K and V in this format.
    static int64_t bytes(const Kernels&, const Config&, int64_t positions, Format format);

    // [layers] of [slots][kv_dim]; slot = page * page_positions + offset.
    struct View {
        std::vector<Tensor> k, v;
    };
    View view;

    int32_t take_page();  // context_full where none is left
    void give_page(int32_t page) noexcept;
    int free_pages() const { return int(available.size()); }

  private:
    Buffer memory;
    std::vector<int32_t> available;  // its capacity holds every page
};

}  // namespace alia
