// ask MODEL TEXT: prints how the model continues a text, once it is whole.
#include <alia.hpp>
#include <cstdio>

int main(int argc, char** argv) try {
    if (argc != 3) return std::fputs("usage: ask MODEL TEXT\n", stderr), 2;
    alia::model model = alia::model::open(argv[1]);
    alia::engine engine = alia::engine::open(model);
    const std::string text = engine.ask(argv[2], {.max_tokens = 32}).text();
    std::puts(text.c_str());
} catch (const std::exception& e) {
    std::fprintf(stderr, "ask: %s\n", e.what());
    return 1;
}
