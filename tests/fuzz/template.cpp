// libFuzzer: a chat template and the variables that it is given, as JSON. Small limits, so that long runs find more
// than slow templates.
#include "engine/template_render.h"
#include "tests/fuzz/files.h"

using namespace alia;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const auto [source, given] = parts<2>({data, size});
    const auto text = [](Bytes bytes) {
        return std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    };
    try {
        const auto parsed = jinja::Template::parse(text(source), "fuzz");
        jinja::Heap heap({.steps = 20000, .bytes = 4 << 20, .output = 1 << 20});
        const JsonDocument variables = JsonDocument::parse(text(given), "fuzz");
        if (!variables.root().is(Json::Kind::object)) return 0;
        const jinja::Value values = heap.value(variables.root());
        const jinja::Text result = jinja::render(parsed, heap, *values.dict, 1727697845);
        check_ranges(result.input, result.bytes.size());
        for (size_t i = 1; i < result.input.size(); ++i)
            if (result.input[i - 1].end >= result.input[i].begin) __builtin_trap();
    } catch (const Error&) {}
    return 0;
}
