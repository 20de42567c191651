// stream MODEL TEXT: prints how the model continues a text, as it comes; then, on standard error, why it ended. Written
// for programs without exceptions.
#include <alia.hpp>
#include <cstdio>

static int failed(const alia::error& why) {
    std::fprintf(stderr, "stream: %s\n", why.what());
    return 1;
}

static const char* reason(int32_t finish) {
    switch (finish) {
        case ALIA_FINISH_STOP:
            return "stop";
        case ALIA_FINISH_LENGTH:
            return "length";
        case ALIA_FINISH_CONTEXT:
            return "context";
        default:
            return "other";
    }
}

int main(int argc, char** argv) {
    if (argc != 3) return std::fputs("usage: stream MODEL TEXT\n", stderr), 2;
    auto model = alia::model::open(argv[1]);
    if (!model) return failed(model.error());
    auto engine = alia::engine::open(*model);
    if (!engine) return failed(engine.error());

    alia::text_stream answer = engine->ask(argv[2], {.max_tokens = 32});
    for (const auto& piece : answer) {
        if (!piece) return failed(piece.error());
        std::fwrite(piece->data(), 1, piece->size(), stdout);
        std::fflush(stdout);
    }
    std::putchar('\n');
    const alia::event& end = answer.last();
    std::fprintf(stderr, "%lld tokens after %lld, ended by %s\n", static_cast<long long>(end.generated_tokens),
                 static_cast<long long>(end.prompt_tokens), reason(end.finish));
}
