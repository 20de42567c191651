// chat MODEL MESSAGES: prints what the model answers to a conversation: JSON, such as
// [{"role": "user", "content": "Who are you?"}].
#include <alia.hpp>
#include <cstdio>

int main(int argc, char** argv) try {
    if (argc != 3) return std::fputs("usage: chat MODEL MESSAGES\n", stderr), 2;
    alia::model model = alia::model::open(argv[1]);
    alia::engine engine = alia::engine::open(model);
    const std::vector<int32_t> ids = model.encode_chat(argv[2]);
    for (std::string_view piece : engine.ask(ids, {.max_tokens = 200, .stop = model.chat_stops()})) {
        std::fwrite(piece.data(), 1, piece.size(), stdout);
        std::fflush(stdout);
    }
    std::puts("");
} catch (const std::exception& e) {
    std::fprintf(stderr, "chat: %s\n", e.what());
    return 1;
}
