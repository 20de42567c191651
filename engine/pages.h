// Whose the cache's pages are: reference counts, and full pages found again by what they hold.
//
// A full page is known by its key: the keyed hash of its parent's key (the page before it; for the first page, of the
// tenant's salt), its tokens and the role of each. A hit also compares parent, tokens and roles, so two texts with one
// hash do not share. A page that no sequence uses any more stays until its place is needed; the one unused for longest
// goes first.
#pragma once
#include <array>
#include <string_view>
#include <vector>

#include "engine/hash.h"
#include "kernels/ops.h"

namespace alia {

// The 64 tokens of a full page and what comes before them.
struct PageContent {
    Hash128 parent;
    std::array<int32_t, page_positions> tokens;
    uint64_t prompt_roles = 0;  // bit i: token i was processed as prompt

    bool operator==(const PageContent&) const = default;
};

// Not for several threads. Nothing here allocates after construction.
class Pages {
  public:
    explicit Pages(int32_t count);

    // What first pages of this salt have for a parent.
    Hash128 root(std::string_view salt) const;
    Hash128 key(const PageContent&) const;

    int32_t take();  // with one reference; context_full where none is free or cached
    void share(int32_t page) noexcept;
    void release(int32_t page) noexcept;

    // The page that holds this, with one more reference, or -1.
    int32_t find(Hash128 key, const PageContent&) noexcept;
    // Makes a page known and returns it or, where another page with this content is known already, that one: the
    // caller's reference has then moved to it.
    int32_t publish(int32_t page, Hash128 key, const PageContent&) noexcept;
    // Whether writing to it would be seen: it has other users or is known by its content.
    bool fixed(int32_t page) const { return uses[page].references > 1 || uses[page].known; }

    int32_t count() const { return int32_t(all.size()); }
    int32_t free() const { return free_count; }      // hold nothing
    int32_t cached() const { return cached_count; }  // known and used by no sequence
    int32_t available() const { return free_count + cached_count; }
    int64_t evictions = 0;

  private:
    struct Use {
        int32_t references = 0;
        bool known = false;
    };
    struct Page {
        int32_t next = -1;               // in its bucket, or in the free list
        int32_t older = -1, newer = -1;  // of the cached ones
        Hash128 key;
        PageContent content;
    };
    int32_t lookup(Hash128 key, const PageContent&) const noexcept;
    int32_t& bucket(Hash128 key) { return buckets[key.low & (buckets.size() - 1)]; }
    void forget(int32_t page) noexcept;
    void push_cached(int32_t page) noexcept;
    void unlink_cached(int32_t page) noexcept;

    Hash128 secret;
    std::vector<Use> uses;  // apart from the rest, since every step looks at those of its last pages
    std::vector<Page> all;
    std::vector<int32_t> buckets;
    int32_t first_free = -1, oldest = -1, newest = -1;
    int32_t free_count = 0, cached_count = 0;
};

}  // namespace alia
