// embed MODEL TEXT OTHER...: prints how near in meaning each other text is to the first: the cosine of the angle
// between their embeddings, the mean of the model's last hidden states.
#include <alia.hpp>
#include <cstdio>
#include <numeric>

// Of length 1.
static std::vector<float> embed(alia::engine& engine, const char* text) {
    std::vector<float> embedding;
    for (const alia::event& e :
         engine.stream(text, {.max_tokens = 0, .pooling = ALIA_POOLING_MEAN, .normalise = true})) {
        if (e.finish == ALIA_FINISH_ERROR) throw alia::error(e.status, e.message);
        if (e.kind == ALIA_EVENT_EMBEDDING) embedding = e.values;
    }
    return embedding;
}

int main(int argc, char** argv) try {
    if (argc < 4) return std::fputs("usage: embed MODEL TEXT OTHER...\n", stderr), 2;
    alia::model model = alia::model::open(argv[1]);
    alia::engine engine = alia::engine::open(model);
    const std::vector<float> first = embed(engine, argv[2]);
    for (int i = 3; i < argc; ++i) {
        const std::vector<float> other = embed(engine, argv[i]);
        std::printf("%.4f %s\n", std::inner_product(first.begin(), first.end(), other.begin(), 0.0), argv[i]);
    }
} catch (const std::exception& e) {
    std::fprintf(stderr, "embed: %s\n", e.what());
    return 1;
}
