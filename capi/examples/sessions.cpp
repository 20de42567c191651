// sessions MODEL FILE TEXT...: a conversation that outlives the program. Each text goes behind what was said before,
// the model continues it, and FILE keeps all of it for the next run; without FILE a new conversation begins.
#include <alia.hpp>
#include <cstdio>

static alia::sequence restored(alia::engine& engine, const char* file) {
    auto sequence = engine.restore_file(file);
    if (!sequence && sequence.error().status == ALIA_NOT_FOUND) return engine.new_sequence();
    return std::move(sequence).value();
}

int main(int argc, char** argv) try {
    if (argc < 4) return std::fputs("usage: sessions MODEL FILE TEXT...\n", stderr), 2;
    alia::model model = alia::model::open(argv[1]);
    alia::engine engine = alia::engine::open(model);
    const alia::sequence sequence = restored(engine, argv[2]);
    bool first = sequence.tokens().value().empty();
    for (int i = 3; i < argc; ++i, first = false) {
        // A request that names a sequence continues it: only the new tokens are given, and only they are processed.
        const std::vector<int32_t> ids = model.encode(argv[i], first);
        const std::string answer = engine.ask(ids, {.max_tokens = 16, .sequence = sequence.number()}).text();
        std::puts(answer.c_str());
    }
    sequence.save_file(argv[2]).value();
} catch (const std::exception& e) {
    std::fprintf(stderr, "sessions: %s\n", e.what());
    return 1;
}
