// What tests of whole models share: running ids through an engine, reading .npy files, and budgets.
#pragma once
#include <cstring>
#include <fstream>
#include <sstream>

#include "engine/engine.h"
#include "tests/catch.h"
#include "tests/environment.h"

namespace alia {

inline std::string read_file(const std::string& path) {
    std::ifstream f(path, std::ios::binary);
    if (!f) throw std::runtime_error("cannot read " + path);
    return {std::istreambuf_iterator<char>(f), {}};
}

inline std::vector<int32_t> read_ids(const std::string& path) {
    std::istringstream text(read_file(path));
    std::vector<int32_t> ids;
    for (int32_t id; text >> id;) ids.push_back(id);
    return ids;
}

// A little-endian float32 matrix in C order (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html).
inline std::vector<float> read_npy(const std::string& path) {
    const std::string bytes = read_file(path);
    const size_t start = 10 + (uint8_t(bytes[8]) | uint8_t(bytes[9]) << 8);
    if (bytes.substr(10, start - 10).find("'<f4'") == std::string::npos)
        throw std::runtime_error(path + " is not float32");
    std::vector<float> values((bytes.size() - start) / sizeof(float));
    std::memcpy(values.data(), bytes.data() + start, values.size() * sizeof(float));
    return values;
}

// Logits of every position, row after row.
inline std::vector<float> teacher_forced(Engine& engine, std::vector<int32_t> ids) {
    Request r;
    r.prompt = std::move(ids);
    r.max_tokens = 0;
    r.prompt_logits = true;
    engine.submit(std::move(r));
    std::vector<float> rows;
    while (!engine.idle())
        for (const Event& e : engine.step()) rows.insert(rows.end(), e.values.begin(), e.values.end());
    return rows;
}

inline std::vector<int32_t> generate(Engine& engine, Request r) {
    engine.submit(std::move(r));
    std::vector<int32_t> tokens;
    while (!engine.idle())
        for (const Event& e : engine.step())
            if (e.kind == Event::Kind::token) tokens.push_back(e.token);
    return tokens;
}

}  // namespace alia
