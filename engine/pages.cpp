// The pages' bookkeeping.
#include "engine/pages.h"

#include <bit>
#include <random>

#include "kernels/error.h"

namespace alia {

Pages::Pages(int32_t count)
    : uses(size_t(count)), all(size_t(count)), buckets(std::bit_ceil(size_t(count) + 1), -1), free_count(count) {
    std::random_device random;
    secret = {uint64_t(random()) << 32 | random(), uint64_t(random()) << 32 | random()};
    for (int32_t page = count; page-- > 0;) all[page].next = first_free, first_free = page;
}

Hash128 Pages::root(std::string_view salt) const { return siphash(secret, std::as_bytes(std::span(salt))); }

Hash128 Pages::key(const PageContent& content) const {
    static_assert(sizeof content == 16 + 4 * page_positions + 8, "its bytes are hashed: no padding");
    return siphash(secret, std::as_bytes(std::span(&content, 1)));
}

int32_t Pages::take() {
    int32_t page = first_free;
    if (page >= 0) {
        first_free = all[page].next;
        --free_count;
    } else if (page = oldest; page >= 0) {
        unlink_cached(page);
        forget(page);
        ++evictions;
    } else {
        fail(Status::context_full, "every page of the KV cache is in use");
    }
    uses[page].references = 1;
    return page;
}

void Pages::share(int32_t page) noexcept {
    if (uses[page].references++ == 0) unlink_cached(page);
}

void Pages::release(int32_t page) noexcept {
    Use& use = uses[page];
    if (--use.references > 0) return;
    if (use.known) return push_cached(page);
    all[page].next = first_free;
    first_free = page;
    ++free_count;
}

int32_t Pages::lookup(Hash128 key, const PageContent& content) const noexcept {
    int32_t page = buckets[key.low & (buckets.size() - 1)];
    while (page >= 0 && !(all[page].key == key && all[page].content == content)) page = all[page].next;
    return page;
}

int32_t Pages::find(Hash128 key, const PageContent& content) noexcept {
    const int32_t page = lookup(key, content);
    if (page >= 0) share(page);
    return page;
}

int32_t Pages::publish(int32_t page, Hash128 key, const PageContent& content) noexcept {
    if (const int32_t other = find(key, content); other >= 0) {
        release(page);
        return other;
    }
    Page& p = all[page];
    uses[page].known = true;
    p.key = key;
    p.content = content;
    p.next = bucket(key);
    bucket(key) = page;
    return page;
}

void Pages::forget(int32_t page) noexcept {
    int32_t* link = &bucket(all[page].key);
    while (*link != page) link = &all[*link].next;
    *link = all[page].next;
    uses[page].known = false;
}

void Pages::push_cached(int32_t page) noexcept {
    all[page].older = newest;
    all[page].newer = -1;
    (newest >= 0 ? all[newest].newer : oldest) = page;
    newest = page;
    ++cached_count;
}

void Pages::unlink_cached(int32_t page) noexcept {
    Page& p = all[page];
    (p.older >= 0 ? all[p.older].newer : oldest) = p.newer;
    (p.newer >= 0 ? all[p.newer].older : newest) = p.older;
    --cached_count;
}

}  // namespace alia
