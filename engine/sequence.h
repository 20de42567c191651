// The tokens of one sequence and the cache pages that hold their K and V.
#pragma once
#include "engine/cache.h"

namespace alia {

class Sequence {
  public:
    explicit Sequence(Cache& cache) : cache(&cache) {}
    ~Sequence() { truncate(0); }
    Sequence(const Sequence&) = delete;
    Sequence& operator=(const Sequence&) = delete;

    std::span<const int32_t> tokens() const { return ids; }
    std::span<const int32_t> pages() const { return table; }
    int64_t length() const { return int64_t(ids.size()); }

    // Takes the pages that the new tokens need; after context_full nothing has changed.
    void append(std::span<const int32_t> tokens);
    void truncate(int64_t length) noexcept;  // forgets every token from `length` on

    // Row of the cache that holds this position.
    int32_t slot(int64_t position) const {
        return table[position / page_positions] * page_positions + int32_t(position % page_positions);
    }

  private:
    Cache* cache;
    std::vector<int32_t> ids, table;
};

}  // namespace alia
