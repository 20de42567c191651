// Growing and cutting back a sequence.
#include "engine/sequence.h"

#include <algorithm>

namespace alia {
namespace {

int64_t pages_of(int64_t positions) { return (positions + page_positions - 1) / page_positions; }

// Room for `count` elements, growing as push_back does.
template <class T>
void make_room(std::vector<T>& v, size_t count) {
    if (v.capacity() < count) v.reserve(std::max(count, 2 * v.capacity()));
}

}  // namespace

int64_t Sequence::run(int64_t most) const {
    const auto first = role.begin() + done, end = first + std::min(most, pending());
    return std::find_if(first, end, [&](Role r) { return r != *first; }) - first;
}

void Sequence::reserve(int64_t tokens) {
    ids.reserve(size_t(tokens));
    role.reserve(size_t(tokens));
    table.reserve(size_t(pages_of(tokens)));
    keys.reserve(size_t(pages_of(tokens)));
}

void Sequence::append(std::span<const int32_t> tokens, Role r) {
    const size_t count = ids.size() + tokens.size();
    make_room(ids, count);
    make_room(role, count);
    make_room(table, size_t(pages_of(int64_t(count))));
    make_room(keys, size_t(pages_of(int64_t(count))));
    ids.insert(ids.end(), tokens.begin(), tokens.end());
    role.insert(role.end(), tokens.size(), r);
}

void Sequence::cut_pages(int64_t length) noexcept {
    // The last page first: of two that nobody uses, the later one is then forgotten first.
    for (const size_t pages = size_t(pages_of(length)); table.size() > pages; table.pop_back())
        cache->pages.release(table.back());
    keys.resize(std::min(keys.size(), size_t(length / page_positions)));
}

void Sequence::rewind(int64_t length) noexcept {
    done = std::min(done, length);
    cut_pages(done);
}

void Sequence::truncate(int64_t length) noexcept {
    if (length >= this->length()) return;
    ids.resize(size_t(length));
    role.resize(size_t(length));
    rewind(length);
    shares = shares && length > 0;
}

void Sequence::slide(int64_t first, int64_t last) noexcept {
    if (first + last >= length()) return;
    rewind(first);
    gone += length() - first - last;
    ids.erase(ids.begin() + first, ids.end() - last);
    role.erase(role.begin() + first, role.end() - last);
}

void Sequence::fork(const Sequence& s, int64_t length) {
    const int64_t computed = std::min(s.done, length);
    const auto pages = s.pages().first(size_t(pages_of(computed)));
    const auto whole = std::span(s.keys).first(std::min(s.keys.size(), size_t(computed / page_positions)));
    reserve(length);
    ids.assign(s.ids.begin(), s.ids.begin() + length);
    role.assign(s.role.begin(), s.role.begin() + length);
    keys.assign(whole.begin(), whole.end());
    table.assign(pages.begin(), pages.end());
    for (int32_t page : table) cache->pages.share(page);
    root = s.root;
    shares = s.shares;
    done = computed;
    gone = s.gone;
}

void Sequence::share(std::string_view salt) {
    root = cache->pages.root(salt);
    shares = true;
}

PageContent Sequence::content(size_t page) const {
    PageContent c{.parent = page == 0 ? root : keys[page - 1]};
    const size_t first = page * page_positions;
    std::copy_n(ids.begin() + int64_t(first), page_positions, c.tokens.begin());
    for (size_t i = 0; i < page_positions; ++i)
        if (role[first + i] == Role::prompt) c.prompt_roles |= uint64_t(1) << i;
    return c;
}

int64_t Sequence::match(int64_t limit) noexcept {
    if (!shares || done % page_positions != 0 || int64_t(keys.size()) * page_positions != done) return 0;
    const int64_t before = done;
    limit = std::min(limit, length() - 1);
    while (done + page_positions <= limit) {
        const PageContent c = content(keys.size());
        const Hash128 key = cache->pages.key(c);
        const int32_t page = cache->pages.find(key, c);
        if (page < 0) break;
        cut_pages(done);  // pages taken for tokens that need none now
        table.push_back(page);
        keys.push_back(key);
        done += page_positions;
    }
    return done - before;
}

bool Sequence::take_pages(int64_t count) {
    const size_t last = size_t(done / page_positions);
    if (done % page_positions != 0 && cache->pages.fixed(table[last])) {
        if (cache->pages.available() == 0) return false;
        struct Taken {
            Pages& pages;
            int32_t page;
            ~Taken() { pages.release(page); }
        } other{cache->pages, cache->pages.take()};
        cache->copy_page(table[last], other.page);
        std::swap(table[last], other.page);
    }
    for (const size_t pages = size_t(pages_of(done + count)); table.size() < pages;) {
        if (cache->pages.available() == 0) return false;
        table.push_back(cache->pages.take());
    }
    return true;
}

void Sequence::advance(int64_t count) noexcept {
    done += count;
    if (!shares) return;
    while (int64_t(keys.size() + 1) * page_positions <= done) {
        const size_t page = keys.size();
        const PageContent c = content(page);
        const Hash128 key = cache->pages.key(c);
        table[page] = cache->pages.publish(table[page], key, c);
        keys.push_back(key);
    }
}

void Sequence::load(std::vector<int32_t> tokens, std::vector<Role> roles, int64_t dropped, int64_t computed) {
    reserve(int64_t(tokens.size()));
    std::vector<int32_t> taken;
    taken.reserve(table.capacity());
    const size_t pages = size_t(pages_of(computed));
    if (int64_t(pages) > cache->pages.available())
        fail(Status::context_full, "the state's %zu pages do not fit the KV cache", pages);
    while (taken.size() < pages) taken.push_back(cache->pages.take());
    keys.reserve(size_t(pages_of(int64_t(tokens.size()))));
    ids = std::move(tokens);
    role = std::move(roles);
    table = std::move(taken);
    done = computed;
    gone = dropped;
}

}  // namespace alia
