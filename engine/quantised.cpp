// Finding the arrays of quantised weights and turning them into blocks.
#include "engine/quantised.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "engine/workers.h"

namespace alia {
namespace {

using Method = QuantisedConfig::Method;
using Scheme = QuantisedConfig::Scheme;

constexpr int block = 32;      // numbers; of every format that comes out
constexpr int64_t strip = 32;  // rows that a thread converts at once: what they share of a transposed array's lines

uint32_t word(const Array& a, int64_t i) {
    uint32_t w;
    std::memcpy(&w, a.data + i * 4, 4);
    return w;
}

// The arrays of one module, checked against each other.
struct Finder {
    const Checkpoint& checkpoint;
    const std::string module;
    Quantised q;

    const Array* part(const char* name) const { return checkpoint.find_part(module + name); }
    [[noreturn]] void missing(const char* name) const {
        fail(Status::missing, {checkpoint.files[q.codes->file]->path, module + name},
             "the model needs this tensor and the files do not have it in a type that fits");
    }
    void expect_shape(const Array& a, int64_t rows, int64_t columns) const {
        if (a.rows != rows || a.columns != columns)
            fail(Status::shape, checkpoint.place(a), "%lld x %lld numbers, not %lld x %lld", (long long)a.rows,
                 (long long)a.columns, (long long)rows, (long long)columns);
    }
    void expect_type(const Array& a, Raw raw) const {
        if (a.raw != raw)
            fail(Status::unsupported, checkpoint.place(a), "is stored as %s, not %s", info(a.raw).name, info(raw).name);
    }
    int64_t groups() const { return q.columns / q.group; }

    void find_gptq(const QuantisedConfig&);
    void find_compressed(const QuantisedConfig&);
    void use(const Scheme&);
    bool fits(const Scheme&, const Array& scales) const;
    void check_shape() const;
    void find_compressed_zeros(const Scheme&);
    void find_order(const Array* group_of);
};

// What follows from the scheme once codes and scales are known.
void Finder::use(const Scheme& s) {
    q.bits = s.bits;
    q.group = s.group > 0 ? s.group : q.columns;
    q.symmetric = s.symmetric;
    q.e4m3_inputs = s.e4m3_inputs;
    q.centre = 1 << (s.bits - 1);
    if (q.columns % q.group || q.group % block)
        fail(Status::unsupported, checkpoint.place(*q.codes),
             "rows of %lld numbers in groups of %lld: whole groups of a multiple of %d are supported",
             (long long)q.columns, (long long)q.group, block);
}

void Finder::find_gptq(const QuantisedConfig& config) {
    const Scheme& s = config.schemes[0];
    expect_type(*q.codes, Raw::I32);
    use(s);
    q.transposed = true;
    expect_shape(*q.codes, q.columns * s.bits / 32, q.rows);
    q.scales = {checkpoint.find(module + "scales"), 1, q.rows};
    if (!q.scales.array) missing("scales");
    expect_shape(*q.scales.array, groups(), q.rows);
    q.zeros = {part("qzeros"), 1, q.rows * s.bits / 32};
    if (!q.zeros.array) missing("qzeros");
    if (q.rows * s.bits % 32)
        fail(Status::unsupported, checkpoint.place(*q.codes), "%lld rows do not fill words", (long long)q.rows);
    expect_type(*q.zeros.array, Raw::I32);
    expect_shape(*q.zeros.array, groups(), q.rows * s.bits / 32);
    q.zero_offset = config.zero_offset;
    const Array* group_of = part("g_idx");
    if (!group_of && config.ordered) missing("g_idx");
    find_order(group_of);
}

bool Finder::fits(const Scheme& s, const Array& scales) const {
    if (q.codes->raw == Raw::I32) {
        if (s.floats || q.codes->columns != q.columns * s.bits / 32) return false;
    } else if (s.bits != 8 || q.codes->raw != (s.floats ? Raw::F8_E4M3 : Raw::I8)) {
        return false;
    }
    if (s.group == 0) return scales.rows == 1 && scales.columns == 1;
    const int64_t group = s.group > 0 ? s.group : q.columns;
    return scales.rows == q.rows && scales.columns == (q.columns + group - 1) / group;
}

void Finder::find_compressed(const QuantisedConfig& config) {
    const Array* scales = checkpoint.find(module + "weight_scale");
    if (!scales) missing("weight_scale");
    auto s = std::find_if(config.schemes.begin(), config.schemes.end(), [&](auto& s) { return fits(s, *scales); });
    if (s == config.schemes.end())
        fail(Status::shape, checkpoint.place(*q.codes),
             "%lld x %lld numbers of %s with %lld x %lld scales: no scheme of the configuration has that for %lld x "
             "%lld",
             (long long)q.codes->rows, (long long)q.codes->columns, info(q.codes->raw).name, (long long)scales->rows,
             (long long)scales->columns, (long long)q.rows, (long long)q.columns);
    use(*s);
    const bool words = q.codes->raw == Raw::I32;
    if (words) check_shape();
    expect_shape(*q.codes, q.rows, words ? q.columns * s->bits / 32 : q.columns);
    q.scales = {scales, s->group == 0 ? 0 : groups(), 1};
    find_compressed_zeros(*s);
    find_order(part("weight_g_idx"));
}

void Finder::check_shape() const {
    const Array* shape = part("weight_shape");
    if (!shape) missing("weight_shape");
    if (shape->raw != Raw::I32) expect_type(*shape, Raw::I64);
    expect_shape(*shape, 1, 2);
    int64_t size[2];
    for (int i = 0; i < 2; ++i) {
        if (shape->raw == Raw::I64)
            std::memcpy(&size[i], shape->data + 8 * i, 8);
        else
            size[i] = int32_t(word(*shape, i));
    }
    if (size[0] != q.rows || size[1] != q.columns)
        fail(Status::shape, checkpoint.place(*shape), "says %lld x %lld, but the configuration asks for %lld x %lld",
             (long long)size[0], (long long)size[1], (long long)q.rows, (long long)q.columns);
}

void Finder::find_compressed_zeros(const Scheme& s) {
    const Array* zeros = part("weight_zero_point");
    if (s.floats) {
        if (zeros &&
            !std::all_of(zeros->data, zeros->data + zeros->bytes, [](std::byte b) { return b == std::byte(0); }))
            fail(Status::unsupported, checkpoint.place(*zeros), "zero points of floats are not supported");
        return;
    }
    if (!zeros && !s.symmetric) missing("weight_zero_point");
    if (!zeros) return;
    q.zeros = {zeros, q.scales.down, q.scales.across};
    if (zeros->raw == Raw::I32 && s.group != 0) {
        expect_shape(*zeros, (q.rows * s.bits + 31) / 32, groups());
    } else {
        expect_type(*zeros, Raw::I8);
        expect_shape(*zeros, q.scales.array->rows, q.scales.array->columns);
    }
}

// Columns sorted by group, in their order within one; nothing where they are sorted already.
void Finder::find_order(const Array* group_of) {
    if (!group_of) return;
    expect_type(*group_of, Raw::I32);
    expect_shape(*group_of, 1, q.columns);
    auto group = [&](int64_t column) { return int32_t(word(*group_of, column)); };
    bool unset = true, sorted = true;  // compressed-tensors writes -1 where there is no order
    for (int64_t i = 0; i < q.columns; ++i) unset = unset && group(i) == -1, sorted = sorted && group(i) == i / q.group;
    if (sorted || (unset && !q.transposed)) return;

    std::vector<int64_t> next(size_t(groups()), 0);  // place of each group's next column
    for (int64_t g = 0; g < groups(); ++g) next[size_t(g)] = g * q.group;
    q.order.resize(size_t(q.columns));
    for (int64_t i = 0; i < q.columns; ++i) {
        const int64_t g = group(i);
        if (g < 0 || g >= groups())
            fail(Status::malformed, checkpoint.place(*group_of), "column %lld is in group %lld of %lld", (long long)i,
                 (long long)g, (long long)groups());
        if (next[size_t(g)] == (g + 1) * q.group)
            fail(Status::malformed, checkpoint.place(*group_of), "group %lld has more than %lld columns", (long long)g,
                 (long long)q.group);
        q.order[size_t(next[size_t(g)]++)] = int32_t(i);
    }
}

Format format_of(const Quantised& q) {
    if (q.codes->raw == Raw::F8_E4M3) return Format::E4M3;
    if (q.bits == 8) return q.symmetric ? Format::I8 : Format::U8;
    if (q.scales.array->format == Format::F32) return Format::I8;
    return q.symmetric ? Format::Q4_0 : Format::Q5_0;
}

// Eight codes of 4 bits to bytes.
uint64_t spread(uint32_t word) {
    uint64_t x = word;
    x = (x | x << 16) & 0x0000FFFF0000FFFF;
    x = (x | x << 8) & 0x00FF00FF00FF00FF;
    return (x | x << 4) & 0x0F0F0F0F0F0F0F0F;
}

void unpack_word(const Quantised& q, int64_t i, uint8_t* codes) {
    const uint32_t w = word(*q.codes, i);
    const uint64_t bytes = q.bits == 4 ? spread(w) : w;
    std::memcpy(codes, &bytes, size_t(32 / q.bits));
}

// The codes of n rows, a byte each, in the file's order of columns.
void unpack(const Quantised& q, int64_t first, int64_t n, uint8_t* codes) {
    const int64_t per = 32 / q.bits, words = q.columns / per;
    if (q.transposed) {
        for (int64_t i = 0; i < words; ++i)
            for (int64_t r = 0; r < n; ++r)
                unpack_word(q, i * q.codes->columns + first + r, codes + r * q.columns + i * per);
    } else if (q.codes->raw == Raw::I32) {
        for (int64_t i = 0; i < n * words; ++i) unpack_word(q, first * words + i, codes + i * per);
    } else {
        std::memcpy(codes, q.codes->data + first * q.columns, size_t(n * q.columns));
        if (q.codes->raw == Raw::I8)
            for (int64_t i = 0; i < n * q.columns; ++i) codes[i] ^= 0x80;
    }
}

// All scales that the formats hold: F16's range.
float scale(const Quantised& q, int64_t row, int64_t group) {
    const Array& a = *q.scales.array;
    float d;
    decode_row(a.format, a.data + (row * q.scales.down + group * q.scales.across) * info(a.format).bytes, 1, &d);
    if (!(std::fabs(d) <= 65504))
        fail(Status::malformed, q.checkpoint->place(a), "row %lld, group %lld has a scale of %g", (long long)row,
             (long long)group, double(d));
    return d;
}

int zero_point(const Quantised& q, int64_t row, int64_t group) {
    if (!q.zeros.array) return q.centre;
    const Array& a = *q.zeros.array;
    const int64_t bit = row * q.bits;
    int z;
    if (a.raw == Raw::I8)
        z = q.centre + int8_t(a.data[row * q.zeros.down + group * q.zeros.across]);
    else
        z = int(word(a, bit / 32 * q.zeros.down + group * q.zeros.across) >> bit % 32 & ((1u << q.bits) - 1)) +
            q.zero_offset;
    if (z < 0 || z > 1 << q.bits || (q.symmetric && z != q.centre))
        fail(Status::malformed, q.checkpoint->place(a), "row %lld, group %lld has a zero point of %d%s", (long long)row,
             (long long)group, z, q.symmetric ? ", but the configuration says symmetric" : "");
    return z;
}

// The block of the 32 numbers d (u - z).
void encode_q4_0(const uint8_t* u, float d, int, uint8_t* to) {
    const f16 h = to_f16(d);
    std::memcpy(to, &h, 2);
    for (int k = 0; k < 16; ++k) to[2 + k] = uint8_t(u[k] | u[k + 16] << 4);
}

void encode_q5_0(const uint8_t* u, float d, int z, uint8_t* to) {
    const f16 h = to_f16(d);
    std::memcpy(to, &h, 2);
    uint32_t fifth = 0;
    uint8_t v[block];
    for (int k = 0; k < block; ++k) v[k] = uint8_t(u[k] - z + 16), fifth |= uint32_t(v[k] >> 4) << k;
    std::memcpy(to + 2, &fifth, 4);
    for (int k = 0; k < 16; ++k) to[6 + k] = uint8_t((v[k] & 15) | v[k + 16] << 4);
}

void encode_i8(const uint8_t* u, float d, int z, uint8_t* to) {
    std::memcpy(to, &d, 4);
    for (int k = 0; k < block; ++k) to[4 + k] = uint8_t(u[k] - z);
}

void encode_u8(const uint8_t* u, float d, int z, uint8_t* to) {
    const float m = -d * float(z);
    std::memcpy(to, &d, 4);
    std::memcpy(to + 4, &m, 4);
    std::memcpy(to + 8, u, block);
}

void encode_e4m3(const uint8_t* u, float d, int, uint8_t* to) {
    std::memcpy(to, &d, 4);
    std::memcpy(to + 4, u, block);
}

using Encode = void (*)(const uint8_t* u, float d, int z, uint8_t* to);
Encode encoder(Format f) {
    return f == Format::Q4_0   ? encode_q4_0
           : f == Format::Q5_0 ? encode_q5_0
           : f == Format::I8   ? encode_i8
           : f == Format::U8   ? encode_u8
                               : encode_e4m3;
}

void convert_strip(const Quantised& q, int64_t first, int64_t n, uint8_t* to) {
    const Encode encode = encoder(q.format);
    const int bytes = info(q.format).bytes;
    const auto codes = std::make_unique_for_overwrite<uint8_t[]>(size_t(n * q.columns));
    std::vector<uint8_t> sorted(q.order.size());
    unpack(q, first, n, codes.get());
    for (int64_t r = 0; r < n; ++r) {
        const uint8_t* u = &codes[size_t(r * q.columns)];
        for (size_t i = 0; i < sorted.size(); ++i) sorted[i] = u[q.order[i]];
        if (!sorted.empty()) u = sorted.data();
        for (int64_t g = 0; g < q.columns / q.group; ++g) {
            const float d = scale(q, first + r, g);
            const int z = zero_point(q, first + r, g);
            for (int64_t k = 0; k < q.group; k += block, u += block, to += bytes) encode(u, d, z, to);
        }
    }
}

}  // namespace

std::optional<Quantised> find_quantised(const Checkpoint& checkpoint, const QuantisedConfig& config,
                                        std::string_view module, int64_t rows, int64_t columns) {
    if (config.method == Method::none) return {};
    const bool gptq = config.method == Method::gptq;
    Finder f{checkpoint, std::string(module), {}};
    f.q.rows = rows;
    f.q.columns = columns;
    f.q.checkpoint = &checkpoint;
    f.q.codes = f.part(gptq ? "qweight" : "weight_packed");
    if (!gptq && !f.q.codes) f.q.codes = f.part("weight");
    if (!f.q.codes) return {};
    if (checkpoint.find(f.module + "weight"))
        fail(Status::malformed, checkpoint.place(*f.q.codes), "the same weight is also there without quantisation");
    if (gptq)
        f.find_gptq(config);
    else
        f.find_compressed(config);
    f.q.format = format_of(f.q);
    return std::move(f.q);
}

void convert_rows(const Quantised& q, int64_t first, int64_t count, std::byte* blocks, int threads) {
    run_workers(threads, (count + strip - 1) / strip, [&](int64_t i) {
        const int64_t start = i * strip;
        convert_strip(q, first + start, std::min(strip, count - start),
                      reinterpret_cast<uint8_t*>(blocks) + start * q.row_bytes());
    });
}

}  // namespace alia
