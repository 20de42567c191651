// How fast a tokenizer loads and encodes: alia_bench_tokenize TOKENIZER TEXT [REPEATS]. One JSON line.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "capi/alia.h"

namespace {

using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

void check(alia_status status) {
    if (status == ALIA_OK) return;
    std::fprintf(stderr, "alia_bench_tokenize: %s\n", alia_error_message());
    std::exit(1);
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 3 || argc > 4 || argv[1][0] == '-') {
        std::fprintf(stderr,
                     "usage: alia_bench_tokenize TOKENIZER TEXT [REPEATS]\n"
                     "example: alia_bench_tokenize salamandra-2b/tokenizer.json book.txt 9\n");
        return 2;
    }
    std::ifstream file(argv[2], std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    if (!file || text.empty()) {
        std::fprintf(stderr, "alia_bench_tokenize: %s cannot be read or is empty\n", argv[2]);
        return 1;
    }
    const int repeats = argc == 4 ? std::max(1, std::atoi(argv[3])) : 5;

    std::vector<double> loads, speeds;
    uint64_t tokens = 0;
    for (int i = 0; i < repeats; ++i) {
        alia_model_options options = ALIA_MODEL_OPTIONS_INIT;
        options.load = ALIA_LOAD_TEXT;
        alia_model* model = nullptr;
        Clock::time_point start = Clock::now();
        check(alia_model_open(argv[1], std::strlen(argv[1]), &options, &model));
        loads.push_back(since(start));

        alia_text_part part = ALIA_TEXT_PART_INIT;
        part.text = text.data();
        part.length = text.size();
        int32_t* ids = nullptr;
        start = Clock::now();
        check(alia_model_encode(model, &part, 1, 0, &ids, &tokens));
        speeds.push_back(double(text.size()) / since(start) / 1e6);
        alia_ids_free(ids);
        check(alia_model_free(model));
    }
    std::printf(
        "{\"load_seconds\": %.3f, \"encode_mb_per_s\": %.2f, \"bytes\": %zu, \"tokens\": %llu, \"repeats\": %d}\n",
        median(loads), median(speeds), text.size(), (unsigned long long)tokens, repeats);
}
