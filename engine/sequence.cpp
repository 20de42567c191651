// Growing and cutting back a sequence.
#include "engine/sequence.h"

namespace alia {

void Sequence::append(std::span<const int32_t> tokens) {
    const int64_t old = length();
    const int64_t pages = (old + int64_t(tokens.size()) + page_positions - 1) / page_positions;
    if (pages - int64_t(table.size()) > cache->free_pages())
        fail(Status::context_full, "%zu more tokens after %lld do not fit the KV cache", tokens.size(), (long long)old);
    table.reserve(size_t(pages));
    ids.insert(ids.end(), tokens.begin(), tokens.end());
    while (int64_t(table.size()) < pages) table.push_back(cache->take_page());
}

void Sequence::truncate(int64_t length) noexcept {
    ids.resize(size_t(std::min(length, this->length())));
    const size_t pages = (ids.size() + page_positions - 1) / page_positions;
    while (table.size() > pages) {
        cache->give_page(table.back());
        table.pop_back();
    }
}

}  // namespace alia
