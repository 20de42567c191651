// The tokens of one sequence, the role of each, and the pages that hold K and V of the first of them.
//
// Tokens are appended first and processed later: those from `computed` on are pending. A sequence can lose all pages
// and keep its tokens; they are then pending again and, each in its role, give the same bits.
#pragma once
#include "engine/cache.h"

namespace alia {

class Sequence {
  public:
    explicit Sequence(Cache& cache) : cache(&cache) {}
    ~Sequence() { drop_pages(); }
    Sequence(const Sequence&) = delete;
    Sequence& operator=(const Sequence&) = delete;

    std::span<const int32_t> tokens() const { return ids; }
    std::span<const Role> roles() const { return role; }
    std::span<const int32_t> pages() const { return table; }
    int64_t length() const { return int64_t(ids.size()); }
    int64_t computed() const { return done; }
    int64_t pending() const { return length() - done; }
    int64_t dropped() const { return gone; }  // by slide()
    // How many of the pending tokens, from the first on, have its role, `most` at most; and that role.
    int64_t run(int64_t most) const;
    Role next_role() const { return role[size_t(done)]; }

    // Memory of the host for so many tokens in all: until then append allocates nothing.
    void reserve(int64_t tokens);
    void append(std::span<const int32_t> tokens, Role);
    void truncate(int64_t length) noexcept;  // forgets every token from `length` on; empty, that it shares too
    // Keeps the first and the last tokens, and forgets those between, so that the last ones are pending.
    void slide(int64_t first, int64_t last) noexcept;
    // Becomes the other one's first `length` tokens and shares their pages. This one is empty.
    void fork(const Sequence&, int64_t length);

    // Pages of this sequence are found by others with the same salt, and theirs by this one. It has no pages yet.
    void share(std::string_view salt);
    // Takes the cache's pages for as many of the pending tokens as are known, but for those from `limit` on and the
    // last token. Returns how many tokens that were.
    int64_t match(int64_t limit) noexcept;
    // Takes pages for the next `count` pending tokens and makes the one they begin in this sequence's own. False where
    // there are not enough; what was taken stays.
    bool take_pages(int64_t count);
    // The next `count` tokens have been processed.
    void advance(int64_t count) noexcept;
    // Processed tokens from `length` on are pending again.
    void rewind(int64_t length) noexcept;
    void drop_pages() noexcept { rewind(0); }

    // Pages with K and V of the first tokens, for Sequence's whole state; see engine/state.h. `load` takes the pages
    // and never shares them; context_full.
    void load(std::vector<int32_t> tokens, std::vector<Role> roles, int64_t dropped, int64_t computed);

    // Asks the processor for the ends of its arrays.
    void prefetch() const {
        __builtin_prefetch(ids.data() + done, 1);
        __builtin_prefetch(role.data() + done, 1);
        __builtin_prefetch(table.data() + done / page_positions);
    }

    // Row of the cache that holds this position.
    int32_t slot(int64_t position) const {
        return table[size_t(position / page_positions)] * page_positions + int32_t(position % page_positions);
    }

  private:
    PageContent content(size_t page) const;
    void cut_pages(int64_t length) noexcept;

    Cache* cache;
    int64_t done = 0, gone = 0;
    bool shares = false;
    std::vector<int32_t> ids;
    std::vector<Role> role;
    std::vector<int32_t> table;
    std::vector<Hash128> keys;  // of the first pages, those that are full and shared
    Hash128 root;
};

}  // namespace alia
