// batch MODEL TEXT...: continues many texts at once and prints each with its continuation, in the order given.
#include <alia.hpp>
#include <cstdio>
#include <map>

int main(int argc, char** argv) try {
    if (argc < 3) return std::fputs("usage: batch MODEL TEXT...\n", stderr), 2;
    alia::model model = alia::model::open(argv[1]);
    alia::engine engine = alia::engine::open(model);

    std::map<uint64_t, std::string> lines;  // by request, whose numbers rise
    for (int i = 2; i < argc; ++i) {
        const std::vector<int32_t> ids = model.encode(argv[i]);
        lines[engine.submit(ids, {.max_tokens = 32}).value()] = argv[i];
    }
    // Each step moves every request on; its events say whose they are.
    for (const alia::event& e : engine.events()) {
        if (e.finish == ALIA_FINISH_ERROR) throw alia::error(e.status, e.message);
        lines[e.request] += e.text;
    }
    for (const auto& [request, line] : lines) std::puts(line.c_str());
} catch (const std::exception& e) {
    std::fprintf(stderr, "batch: %s\n", e.what());
    return 1;
}
