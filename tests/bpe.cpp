// Merging against its definition, cuts, and the split patterns against the regular expressions they stand for.
#include "engine/bpe.h"

#include <random>

#include "engine/pretokenizer.h"
#include "tests/catch.h"
#include "tests/tokenizer_cases.h"

using namespace alia;

namespace {

// The definition: again and again the smallest rank, leftmost first.
std::vector<int32_t> merged(const MergeTable& table, std::vector<int32_t> symbols) {
    for (;;) {
        MergeTable::Merge best;
        size_t at = 0;
        for (size_t i = 0; i + 1 < symbols.size(); ++i) {
            const auto m = table.find(symbols[i], symbols[i + 1]);
            if (m.rank < best.rank) best = m, at = i;
        }
        if (best.id < 0) return symbols;
        symbols[at] = best.id;
        symbols.erase(symbols.begin() + ptrdiff_t(at) + 1);
    }
}

}  // namespace

TEST_CASE("merging follows its definition for short and long words") {
    std::mt19937 random(7);
    for (int round = 0; round < 300; ++round) {
        const int letters = 2 + int(random() % 4), tokens = letters + int(random() % 30);
        MergeTable table(size_t(tokens) * 2);
        for (int32_t id = letters; id < tokens; ++id) {
            const int32_t left = int32_t(random() % uint32_t(id)), right = int32_t(random() % uint32_t(id));
            if (table.find(left, right).id < 0) table.set(left, right, {uint32_t(random() % 20), id});
        }
        std::vector<int32_t> symbols(1 + random() % 200);
        for (auto& s : symbols) s = int32_t(random() % uint32_t(letters));
        auto result = symbols;
        MergeTable::Scratch scratch;
        table.merge(result, scratch);
        REQUIRE(result == merged(table, symbols));
    }
}

TEST_CASE("a cut is refused wherever a merge crosses") {
    Cuts cuts;
    for (const char32_t c : {U'a', U'b', U'c'}) cuts.allow(c);
    cuts.build({{'a', 'b'}, {'a', 'b'}, {'z', 'b'}, {1, 'c'}, {2, 'c'}, {3, 'c'}, {4, 'c'}, {5, 'c'}});
    CHECK_FALSE(cuts.between('a', 'b'));
    CHECK_FALSE(cuts.between('z', 'b'));
    CHECK(cuts.between('b', 'b'));
    CHECK(cuts.between('b', 'a'));
    CHECK_FALSE(cuts.between('b', 'c'));  // more exceptions than are kept
    CHECK_FALSE(cuts.between('a', 'd'));  // never allowed
}

TEST_CASE("split patterns match their regular expressions") {
    const std::pair<const char*, std::vector<Split>> patterns[] = {{"gpt2", {Split::gpt2}},
                                                                   {"llama3", {Split::llama3}},
                                                                   {"digits", {Split::digits}},
                                                                   {"numbers", {Split::numbers}}};
    for (const auto& entry : patterns) {
        const char* name = entry.first;
        const auto& splits = entry.second;
        int cases = 0;
        test::each_line(File::open(test::tokenizer_file(std::string(name) + ".splits.jsonl"))->text(),
                        [&](const Json& c) {
                            std::vector<std::string> want, got;
                            for (const Json& piece : c.find("pieces")->items()) want.emplace_back(piece.string());
                            split_all(splits, 0, c.find("text")->string(),
                                      [&](std::string_view piece) { got.emplace_back(piece); });
                            if (c.find("text")->string().empty()) got.clear();
                            INFO(name << ": " << c.find("text")->string());
                            CHECK(got == want);
                            ++cases;
                        });
        CHECK(cases > 100);
    }
}
