// Byte-pair merging in n log n, the order being that of Hugging Face's tokenizers: smallest rank, then leftmost.
#include "engine/bpe.h"

#include <algorithm>
#include <bit>

#include "engine/hash.h"
#include "kernels/error.h"

namespace alia {
namespace {

constexpr size_t short_word = 32;
constexpr uint32_t end_of_text = UINT32_MAX;

}  // namespace

MergeTable::MergeTable(size_t merges) : multiplier(process_key()) {
    slots.resize(std::bit_ceil(std::max<size_t>(merges, 8) * 3 / 2));
    shift = 64 - std::countr_zero(slots.size());
}

void MergeTable::set(int32_t left, int32_t right, Merge merge) {
    const uint64_t key = uint64_t(uint32_t(left)) << 32 | uint32_t(right);
    size_t at = key * multiplier >> shift;
    while (slots[at].key != key && slots[at].key != none) at = (at + 1) & (slots.size() - 1);
    slots[at] = {key, merge};
}

// Few symbols: look at all ranks each time.
void MergeTable::merge_short(std::vector<int32_t>& symbols) const {
    Merge pairs[short_word];
    size_t n = symbols.size() - 1;  // pairs
    for (size_t i = 0; i < n; ++i) pairs[i] = find(symbols[i], symbols[i + 1]);
    while (n > 0) {
        size_t best = 0;
        for (size_t i = 1; i < n; ++i) best = pairs[i].rank < pairs[best].rank ? i : best;
        if (pairs[best].id < 0) break;
        symbols[best] = pairs[best].id;
        std::copy(symbols.begin() + ptrdiff_t(best) + 2, symbols.begin() + ptrdiff_t(n) + 1,
                  symbols.begin() + ptrdiff_t(best) + 1);
        std::copy(pairs + best + 1, pairs + n, pairs + best);
        --n;
        if (best > 0) pairs[best - 1] = find(symbols[best - 1], symbols[best]);
        if (best < n) pairs[best] = find(symbols[best], symbols[best + 1]);
    }
    symbols.resize(n + 1);
}

void MergeTable::merge(std::vector<int32_t>& symbols, Scratch& scratch) const {
    if (symbols.size() < 2) return;
    if (symbols.size() <= short_word) return merge_short(symbols);
    if (symbols.size() >= end_of_text) fail(Status::limit, Place{{}, "text"}, "a word of 4 GiB");

    auto& heap = scratch.heap;
    auto &next = scratch.next, &previous = scratch.previous;
    const uint32_t n = uint32_t(symbols.size());
    heap.clear();
    next.resize(n);
    previous.resize(n);
    for (uint32_t i = 0; i < n; ++i) {
        next[i] = i + 1 < n ? i + 1 : end_of_text;
        previous[i] = i > 0 ? i - 1 : end_of_text;
        const Merge m = i + 1 < n ? find(symbols[i], symbols[i + 1]) : Merge{};
        if (m.id >= 0) heap.push_back({m.rank, i, m.id});
    }
    std::make_heap(heap.begin(), heap.end());
    const auto push = [&](uint32_t at) {
        const Merge m = find(symbols[at], symbols[next[at]]);
        if (m.id < 0) return;
        heap.push_back({m.rank, at, m.id});
        std::push_heap(heap.begin(), heap.end());
    };
    while (!heap.empty()) {
        const Scratch::Entry top = heap.front();
        std::pop_heap(heap.begin(), heap.end());
        heap.pop_back();
        const uint32_t at = top.at;
        // Entries are not taken out when one of their symbols merges elsewhere: such an entry no longer gives its
        // token.
        if (symbols[at] < 0 || next[at] == end_of_text || find(symbols[at], symbols[next[at]]).id != top.id) continue;
        const uint32_t right = next[at];
        symbols[at] = top.id;
        symbols[right] = -1;
        next[at] = next[right];
        if (next[at] != end_of_text) previous[next[at]] = at;
        if (previous[at] != end_of_text) push(previous[at]);
        if (next[at] != end_of_text) push(at);
    }
    std::erase(symbols, -1);
}

void Cuts::allow(char32_t y) {
    if (y >= 0x110000 || exceptions.size() > UINT16_MAX) return;
    if (y >= rows.size()) rows.resize(y + 1);
    if (rows[y] != 0) return;
    rows[y] = uint16_t(exceptions.size());
    exceptions.push_back({});
}

void Cuts::build(std::vector<Crossing> crossings) {
    const auto order = [](const Crossing& a, const Crossing& b) {
        return a.first != b.first ? a.first < b.first : a.last < b.last;
    };
    const auto same = [](const Crossing& a, const Crossing& b) { return a.first == b.first && a.last == b.last; };
    std::sort(crossings.begin(), crossings.end(), order);
    crossings.erase(std::unique(crossings.begin(), crossings.end(), same), crossings.end());
    for (size_t at = 0; at < crossings.size();) {
        size_t end = at;
        while (end < crossings.size() && crossings[end].first == crossings[at].first) ++end;
        const char32_t y = crossings[at].first;
        if (y < rows.size() && rows[y] != 0) {
            Row& row = exceptions[rows[y]];
            if (end - at > std::size(row.crossed))
                rows[y] = 0;
            else
                for (size_t i = at; i < end; ++i) row.crossed[i - at] = crossings[i].last;
        }
        at = end;
    }
}

}  // namespace alia
