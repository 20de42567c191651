// Byte-pair merging: which neighbours merge, in which order, and where no merge can ever reach across.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

namespace alia {

// Pair of neighbouring tokens -> rank (the smallest merges first; of equals, the leftmost) and the token they become.
class MergeTable {
  public:
    struct Merge {
        uint32_t rank = UINT32_MAX;  // UINT32_MAX: these two never merge
        int32_t id = -1;
    };

    explicit MergeTable(size_t merges = 0);              // room for so many
    void set(int32_t left, int32_t right, Merge merge);  // the last one for a pair holds
    Merge find(int32_t left, int32_t right) const {
        const uint64_t key = uint64_t(uint32_t(left)) << 32 | uint32_t(right);
        size_t at = key * multiplier >> shift;
        while (slots[at].key != key && slots[at].key != none) at = (at + 1) & (slots.size() - 1);
        return slots[at].merge;
    }

    struct Scratch {
        struct Entry {
            uint32_t rank, at;
            int32_t id;
            bool operator<(const Entry& o) const { return rank != o.rank ? rank > o.rank : at > o.at; }
        };
        std::vector<Entry> heap;
        std::vector<uint32_t> next, previous;
    };
    // Merges until nothing merges. Time: n log n.
    void merge(std::vector<int32_t>& symbols, Scratch&) const;

  private:
    static constexpr uint64_t none = UINT64_MAX;
    struct Slot {
        uint64_t key = none;
        Merge merge;
    };
    void merge_short(std::vector<int32_t>& symbols) const;

    std::vector<Slot> slots;  // open addressing, a power of two
    uint64_t multiplier;      // odd, drawn once per process: multiply-shift hashing
    int shift;
};

// Characters before which a text may be cut. A merge joins a token that ends in x and one that begins with y, so where
// no merge of the table has such a pair, the boundary x|y survives, and both sides can be merged apart with the same
// result.
class Cuts {
  public:
    // The last character of a merge's left token and the first of its right token.
    struct Crossing {
        char32_t last, first;
    };
    void build(std::vector<Crossing> crossings);
    // False: a merge might cross x|y (or nothing is known of y).
    bool between(char32_t x, char32_t y) const {
        const uint16_t row = y < rows.size() ? rows[y] : 0;
        if (row == 0) return false;
        for (char32_t crossed : exceptions[row]) {
            if (x == crossed) return false;
        }
        return true;
    }
    // Characters that no merge begins its right part with, but which texts can begin a token with, must be told of.
    void allow(char32_t y);

  private:
    static constexpr char32_t nothing = 0xFFFFFFFF;
    struct Row {
        char32_t crossed[4] = {nothing, nothing, nothing, nothing};
        const char32_t* begin() const { return crossed; }
        const char32_t* end() const { return crossed + 4; }
    };
    std::vector<uint16_t> rows;  // by y: its row of `exceptions`; 0: never cut before y
    std::vector<Row> exceptions{Row{}};
};

}  // namespace alia
