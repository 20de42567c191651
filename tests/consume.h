// Reads all that a checkpoint or document says it holds, so that a sanitiser sees what is not there.
#pragma once
#include <stdexcept>

#include "engine/config.h"

// Their sum, so that nothing is optimised away.
inline double consume(const alia::Json& json) {
    double sum = json.as_real() + double(json.key.size());
    for (char c : json.key) sum += c;
    for (char c : json.string()) sum += c;
    for (const alia::Json& child : json.items()) {
        sum += consume(child);
        if (json.is(alia::Json::Kind::object) && !child.is(alia::Json::Kind::null) && json.find(child.key) != &child)
            throw std::logic_error("find() misses a member");
    }
    return sum;
}

inline double consume(const alia::Checkpoint& checkpoint) {
    double sum = consume(checkpoint.metadata.root()) + consume(checkpoint.generation.root());
    std::vector<float> row;
    for (const alia::Array& a : checkpoint.arrays) {
        if (checkpoint.find(a.name) != &a) throw std::logic_error("find() misses an array");
        row.resize(size_t(a.columns));
        int64_t stride = alia::row_bytes(a.format, a.columns);
        if (stride * a.rows != a.bytes) throw std::logic_error("an array's size contradicts its shape");
        for (int64_t i = 0; i < a.rows; ++i) {
            alia::decode_row(a.format, a.data + i * stride, a.columns, row.data());
            sum += row.back();
        }
    }
    return sum;
}

inline double consume(const alia::Config& config) {
    double sum = 0;
    auto rope = alia::rope_frequencies(config.rope, config.head_dim);
    for (double f : rope.frequency) sum += f;
    return sum * rope.scale;
}
