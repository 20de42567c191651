// Small files for the tests of readers: a temporary directory, and what a GGUF and a safetensors file are made of.
#pragma once
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "kernels/error.h"
#include "tests/catch.h"

namespace alia {

// A directory that goes with its owner.
struct Folder {
    std::string path = (std::filesystem::temp_directory_path() / "alia-XXXXXX").string();

    Folder() {
        if (!::mkdtemp(path.data())) throw std::runtime_error("no temporary directory");
    }
    ~Folder() { std::filesystem::remove_all(path); }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;

    std::string write(const std::string& name, const std::string& bytes) const {
        std::ofstream(path + "/" + name, std::ios::binary) << bytes;
        return path + "/" + name;
    }
    void remove(const std::string& name) const { std::filesystem::remove(path + "/" + name); }
};

// The error that `f` ends with; a failed test where it ends well.
template <class F>
Error error_of(F&& f) {
    std::optional<Error> error;
    try {
        f();
    } catch (const Error& e) {
        error = e;
    }
    REQUIRE(error);
    INFO(error->message);
    return *error;
}

template <class T>
std::string raw(T value) {
    std::string bytes(sizeof value, 0);
    std::memcpy(bytes.data(), &value, sizeof value);
    return bytes;
}

inline std::string floats(size_t n, float first = 0) {
    std::string bytes;
    for (size_t i = 0; i < n; ++i) bytes += raw(first + float(i));
    return bytes;
}

inline std::string safetensors(const std::string& header, const std::string& data) {
    return raw(uint64_t(header.size())) + header + data;
}

// Every field can be set to what it should not be.
struct Gguf {
    uint32_t version = 3;
    uint64_t alignment = 32, key_count = 0, tensor_count = 0;
    std::string keys, tensors, data;

    static std::string text(const std::string& s) { return raw(uint64_t(s.size())) + s; }

    Gguf& key(const std::string& name, uint32_t type, const std::string& value) {
        keys += text(name) + raw(type) + value;
        ++key_count;
        return *this;
    }
    Gguf& integer(const std::string& name, uint32_t value) { return key(name, 4, raw(value)); }
    Gguf& real(const std::string& name, float value) { return key(name, 6, raw(value)); }
    Gguf& string(const std::string& name, const std::string& value) { return key(name, 8, text(value)); }
    Gguf& strings(const std::string& name, const std::vector<std::string>& values) {
        std::string list = raw(uint32_t(8)) + raw(uint64_t(values.size()));
        for (auto& value : values) list += text(value);
        return key(name, 9, list);
    }

    // The fastest dimension first; the bytes follow those of the tensors before it.
    Gguf& tensor(const std::string& name, const std::vector<uint64_t>& size, uint32_t type, const std::string& bytes) {
        data.resize((data.size() + alignment - 1) / alignment * alignment);
        describe(name, size, type, data.size());
        data += bytes;
        return *this;
    }
    Gguf& describe(const std::string& name, const std::vector<uint64_t>& size, uint32_t type, uint64_t offset) {
        tensors += text(name) + raw(uint32_t(size.size()));
        for (uint64_t n : size) tensors += raw(n);
        tensors += raw(type) + raw(offset);
        ++tensor_count;
        return *this;
    }

    std::string head() const { return "GGUF" + raw(version) + raw(tensor_count) + raw(key_count) + keys + tensors; }
    std::string bytes() const {
        std::string file = head();
        if (tensor_count) file.resize((file.size() + alignment - 1) / alignment * alignment);
        return file + data;
    }
};

}  // namespace alia
