// GGUF's layout, little endian as the machines that libalia runs on.
#include "engine/gguf_writer.h"

#include <bit>

namespace alia {
namespace {

static_assert(std::endian::native == std::endian::little);

enum ValueType : uint32_t { u32 = 4, i32 = 5, f32 = 6, truth = 7, string = 8, array = 9 };

template <class T>
void append(std::string& out, T value) {
    out.append(reinterpret_cast<const char*>(&value), sizeof value);
}
void append_text(std::string& out, std::string_view text) {
    append(out, uint64_t(text.size()));
    out += text;
}

}  // namespace

template <class T>
void GgufWriter::key(std::string_view name, uint32_t type, T value) {
    append_text(keys, name);
    append(keys, type);
    append(keys, value);
    ++key_count;
}

template <class T>
void GgufWriter::list(std::string_view name, uint32_t type, std::span<const T> values) {
    key(name, array, type);
    append(keys, uint64_t(values.size()));
    keys.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
}

void GgufWriter::text(std::string_view name, std::string_view value) {
    append_text(keys, name);
    append(keys, uint32_t(string));
    append_text(keys, value);
    ++key_count;
}

void GgufWriter::integer(std::string_view name, uint32_t value) { key(name, u32, value); }
void GgufWriter::real(std::string_view name, float value) { key(name, f32, value); }
void GgufWriter::boolean(std::string_view name, bool value) { key(name, truth, uint8_t(value)); }
void GgufWriter::integers(std::string_view name, std::span<const int32_t> values) { list(name, i32, values); }
void GgufWriter::reals(std::string_view name, std::span<const float> values) { list(name, f32, values); }

void GgufWriter::texts(std::string_view name, std::span<const std::string> values) {
    key(name, array, uint32_t(string));
    append(keys, uint64_t(values.size()));
    for (const std::string& value : values) append_text(keys, value);
}

void GgufWriter::raw(std::string_view name, std::string_view typed) {
    append_text(keys, name);
    keys += typed;
    ++key_count;
}

void GgufWriter::tensor(std::string_view name, Format format, int64_t rows, int64_t columns) {
    const uint32_t dimensions = rows == 1 ? 1 : 2;
    append_text(tensors, name);
    append(tensors, dimensions);
    append(tensors, uint64_t(columns));  // the fastest dimension first
    if (dimensions == 2) append(tensors, uint64_t(rows));
    append(tensors, uint32_t(info(format).gguf));
    append(tensors, uint64_t(data_bytes));
    const int64_t bytes = row_bytes(format, columns) * rows;
    data_bytes += bytes + padding(bytes);
    ++tensor_count;
}

std::string GgufWriter::header() const {
    std::string head = "GGUF";
    append(head, uint32_t(3));
    append(head, tensor_count);
    append(head, key_count);
    head += keys;
    head += tensors;
    head.append(size_t(padding(int64_t(head.size()))), '\0');
    return head;
}

}  // namespace alia
