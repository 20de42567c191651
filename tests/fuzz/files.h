// A fuzzer's bytes as several files, and a folder for readers that open them by name.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>

using Bytes = std::span<const uint8_t>;

// Before each part but the last, which takes the rest, stands its length: 16 bits, little endian.
template <size_t n>
std::array<Bytes, n> parts(Bytes data) {
    std::array<Bytes, n> all;
    for (size_t i = 0; i + 1 < n && data.size() >= 2; ++i) {
        const size_t length = size_t(data[0] | data[1] << 8);
        data = data.subspan(2);
        all[i] = data.first(std::min(length, data.size()));
        data = data.subspan(all[i].size());
    }
    all[n - 1] = data;
    return all;
}

struct Folder {
    std::string path = (std::filesystem::temp_directory_path() / "alia-fuzz-XXXXXX").string();

    Folder() {
        if (!::mkdtemp(path.data())) std::abort();
    }
    ~Folder() { std::filesystem::remove_all(path); }

    std::string write(const char* name, Bytes bytes) const {
        const std::string file = path + "/" + name;
        std::ofstream(file, std::ios::binary)
            .write(reinterpret_cast<const char*>(bytes.data()), std::streamsize(bytes.size()));
        return file;
    }
};
