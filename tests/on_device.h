// Matrices that lie on a device, in exactly the bytes that they need, and on the host for the reference.
#pragma once
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/device.h"
#include "tests/catch.h"

namespace alia::test {

inline std::unique_ptr<Device> open_cuda() {
    auto device = Device::open("cuda:0");
    REQUIRE(device->kernels.name == std::string("cuda"));
    return device;
}

template <class T>
Buffer put(Device& device, const std::vector<T>& v, Home home = Home::device) {
    Buffer b(device, int64_t(v.size() * sizeof(T)), home);
    if (!v.empty()) device.kernels.write(device.stream, b.data(), v.data(), b.size());
    return b;
}
template <class T>
std::vector<T> get(Device& device, const void* from, int64_t count) {
    std::vector<T> v(static_cast<size_t>(count));
    if (count) device.kernels.read(device.stream, v.data(), from, count * int64_t(sizeof(T)));
    return v;
}
template <class T>
const T* at(const Buffer& b) {
    return reinterpret_cast<const T*>(b.data());
}

// Rows of floats on the host: `t` is the reference's tensor.
struct HostRows {
    HostRows(int64_t rows, int64_t columns, float fill = NAN)
        : numbers(size_t(rows * columns), fill), t{numbers.data(), rows, columns, columns * 4, Format::F32} {}
    HostRows(const HostRows&) = delete;
    std::vector<float> numbers;
    Tensor t;
    operator Tensor() const { return t; }
};

// The same on a device, whose bytes are NaN until they are written.
struct DeviceRows {
    DeviceRows(Device& device, int64_t rows, int64_t columns, Format f = Format::F32)
        : DeviceRows(device, put(device, std::vector<uint8_t>(size_t(rows * row_bytes(f, columns)), 0xFF)), rows,
                     columns, f) {}
    DeviceRows(Device& device, Buffer given, int64_t rows, int64_t columns, Format f)
        : device(device), memory(std::move(given)), t{memory.data(), rows, columns, row_bytes(f, columns), f} {}
    DeviceRows(Device& device, const HostRows& m)
        : device(device), memory(put(device, m.numbers)), t{memory.data(), m.t.rows, m.t.columns, m.t.stride} {}
    std::vector<float> floats() const {
        const int64_t n = t.rows * t.columns;
        if (t.format == Format::F32) return get<float>(device, t.data, n);
        std::vector<float> v;
        for (bf16 b : get<bf16>(device, t.data, n)) v.push_back(to_float(b));
        return v;
    }
    Device& device;
    Buffer memory;
    Tensor t;
    operator Tensor() const { return t; }
};

inline Tensor row_of(Tensor t, int64_t row) { return {t.row<char>(row), 1, t.columns, t.stride, t.format}; }

// Sum of squared differences over sum of squares; infinite where a number is not finite.
inline double distance(const std::vector<float>& a, const std::vector<float>& b) {
    double difference = 0, size = 1e-30;
    for (size_t i = 0; i < b.size(); ++i) {
        if (!std::isfinite(a.at(i)) || !std::isfinite(b[i])) return INFINITY;
        difference += (double(a[i]) - b[i]) * (double(a[i]) - b[i]);
        size += double(b[i]) * b[i];
    }
    return difference / size;
}
inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

inline void randomise(HostRows& m, std::mt19937& rng) {
    for (float& f : m.numbers) f = std::normal_distribution<float>()(rng);
}

constexpr double float_sums = 1e-12, bf16_rounding = 1e-5;  // relative squared errors

}  // namespace alia::test
