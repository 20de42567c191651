// The CUDA table's rotation, cache and attention against the reference, and against themselves bit for bit.
#include <algorithm>

#include "tests/catch.h"
#include "tests/environment.h"
#include "tests/on_device.h"

using namespace alia;
using namespace alia::test;

namespace {

std::mt19937 rng(20261125);

constexpr Role roles[] = {Role::generated, Role::prompt};
constexpr int kv_heads = 2;

// Sequences of the given lengths whose pages are scattered over a cache; the last `fresh` positions of each are
// queries.
struct Paged {
    Paged(const std::vector<int>& lengths, int fresh) {
        for (int n : lengths) stride = std::max(stride, (n + page_positions - 1) / page_positions);
        for (int i = 0; i < stride * int(lengths.size()); ++i) pages.push_back(i);
        std::shuffle(pages.begin(), pages.end(), rng);
        for (int s = 0; s < int(lengths.size()); ++s)
            for (int p = 0; p < lengths[size_t(s)]; ++p) {
                const int slot = pages[size_t(s * stride + p / page_positions)] * page_positions + p % page_positions;
                stored_slot.push_back(slot), stored_position.push_back(p);
                if (p < lengths[size_t(s)] - fresh) continue;
                position.push_back(p), sequence.push_back(s);
            }
    }
    int64_t slots() const { return int64_t(pages.size()) * page_positions; }
    int stride = 0;
    std::vector<int32_t> pages, position, sequence, stored_slot, stored_position;
};

// The same arrays on a device.
struct Uploaded {
    Uploaded(Device& device, const Paged& p)
        : pages(put(device, p.pages)), position(put(device, p.position)), sequence(put(device, p.sequence)) {
        batch.n = int(p.position.size());
        batch.page_stride = p.stride;
        batch.position = at<int32_t>(position);
        batch.sequence = at<int32_t>(sequence);
        batch.pages = at<int32_t>(pages);
    }
    Batch batch_of(Role role, int first, int n) const {
        Batch b = batch;
        b.role = role, b.n = n, b.position += first, b.sequence += first;
        return b;
    }
    Buffer pages, position, sequence;
    Batch batch;
};

// A device with K and V of all positions, turned by their angles, in caches that nobody has written before.
struct Caches {
    Caches(Device& device, const Paged& p, Format format, const HostRows& keys, const HostRows& values, int dim)
        : device(device),
          k(device, Buffer(device, p.slots() * row_bytes(format, keys.t.columns)), p.slots(), keys.t.columns, format),
          v(device, Buffer(device, k.memory.size()), p.slots(), keys.t.columns, format),
          q(device, int64_t(p.stored_slot.size()), keys.t.columns),
          turned(device, keys),
          angles(device, keys.t.rows, dim) {
        std::vector<double> frequency;
        for (int i = 0; i < dim / 2; ++i) frequency.push_back(std::pow(10000, -2.0 * i / dim));
        const auto frequencies = put(device, frequency), slot = put(device, p.stored_slot);
        const auto positions = put(device, p.stored_position);
        const DeviceRows plain(device, values);
        device.kernels.angles(device.stream, angles, at<int32_t>(positions),
                              {at<double>(frequencies), dim / 2, 1, 0, 0});
        q.memory = put(device, keys.numbers), q.t.data = q.memory.data();
        device.kernels.rotate_store(device.stream, q, turned, plain, angles, k, v, at<int32_t>(slot));
        rotated = q.floats();  // waits for the work that reads what ends here
    }
    std::vector<float> attend(const Tensor& queries, const Batch& b, int dim) const {
        const Buffer scratch(device, device.kernels.attend_bytes(b, queries.columns, dim));
        const DeviceRows y(device, queries.rows, queries.columns, device.kernels.operand_format);
        device.kernels.attend(device.stream, y, queries, k, v, b, dim, scratch.data());
        return y.floats();
    }
    Device& device;
    DeviceRows k, v, q, turned, angles;
    std::vector<float> rotated;
};

std::vector<float> part(const std::vector<float>& all, int64_t first, int64_t count, int64_t columns) {
    return {all.begin() + first * columns, all.begin() + (first + count) * columns};
}

// One shape: both roles against the reference, then parts of the batch against the whole.
void check_shape(Device& ref, Device& cuda, const Paged& p, Format format, int dim, int64_t group, bool parts) {
    INFO(info(format).name << " head dim " << dim << " group " << group << " longest " << p.stride << " pages");
    const int64_t kv_columns = kv_heads * dim, columns = group * kv_columns;
    HostRows keys(int64_t(p.stored_slot.size()), kv_columns), values(keys.t.rows, kv_columns);
    HostRows q(int64_t(p.position.size()), columns);
    for (HostRows* m : {&keys, &values, &q}) randomise(*m, rng);
    const Caches a(ref, p, format, keys, values, dim), c(cuda, p, format, keys, values, dim);
    REQUIRE(distance(c.rotated, a.rotated) < float_sums);
    const Uploaded at_ref(ref, p), at_cuda(cuda, p);
    const DeviceRows queries(cuda, q);
    const std::vector<float> expected = a.attend(q, at_ref.batch, dim);
    const int n = int(q.t.rows);
    for (Role role : roles) {
        const std::vector<float> y = c.attend(queries, at_cuda.batch_of(role, 0, n), dim);
        REQUIRE(distance(y, expected) < 5e-5);
        if (!parts) continue;
        for (int size : {1, 2, 5})
            for (int first = 0; first < n; first += size) {
                const int count = std::min(size, n - first);
                Tensor some = queries.t;
                some.data = some.row(first), some.rows = count;
                REQUIRE(same_bits(c.attend(some, at_cuda.batch_of(role, first, count), dim),
                                  part(y, first, count, columns)));
            }
    }
}

}  // namespace

TEST_CASE("CUDA: attention over scattered pages agrees with the reference, alone and beside others") {
    auto ref = Device::open("ref"), cuda = open_cuda();
    for (Format format : {Format::BF16, Format::E4M3}) {
        for (int dim : {8, 24, 64, 72, 96, 128, 160, 256}) {
            if (!cuda->kernels.caches(format, dim)) continue;
            check_shape(*ref, *cuda, Paged({1, 63, 65, 130}, 2), format, dim, 3, dim == 64);
        }
        for (int64_t group : {1, 8, 19}) check_shape(*ref, *cuda, Paged({1, 64, 70}, 3), format, 64, group, group != 1);
        check_shape(*ref, *cuda, Paged({323, 7, 600}, 3), format, 128, 8, false);
        check_shape(*ref, *cuda, Paged({150}, 150), format, 32, 2, false);
    }
}

TEST_CASE("CUDA: attention of a shape that the seed draws", "[drawn]") {
    auto ref = Device::open("ref"), cuda = open_cuda();
    rng.seed(uint32_t(from_environment("ALIA_TEST_SEED", 1)));
    auto from = [](int first, int last) { return first + int(rng() % unsigned(last - first + 1)); };
    const Format format = from(0, 1) ? Format::BF16 : Format::E4M3;
    const int dim = format == Format::BF16 ? 8 * from(1, 32) : 32 * from(1, 8), fresh = from(1, 12);
    std::vector<int> lengths;
    for (int i = from(1, 4); i-- > 0;) lengths.push_back(from(1, 150));
    INFO(fresh << " new tokens of each of " << lengths.size());
    check_shape(*ref, *cuda, Paged(lengths, fresh), format, dim, from(1, 1024 / dim), from(0, 3) == 0);
    rng.seed(20261125);
}

TEST_CASE("CUDA: many sequences in one pass, and runs of tokens longer than a warp") {
    auto ref = Device::open("ref"), cuda = open_cuda();
    std::vector<int> lengths;
    for (int i = 0; i < 141; ++i) lengths.push_back(1 + i % 3);
    check_shape(*ref, *cuda, Paged(lengths, 2), Format::BF16, 8, 2, false);
    check_shape(*ref, *cuda, Paged({5, 70, 40}, 70), Format::BF16, 8, 3, false);
}

TEST_CASE("CUDA: prompts that meet many positions have the same bits whether few tokens come or many") {
    auto ref = Device::open("ref"), cuda = open_cuda();
    constexpr int dim = 8, group = 1, fresh = 66;
    for (auto [format, length] : {std::pair(Format::BF16, 4200), std::pair(Format::E4M3, 2100)}) {  // three chunks, two
        const int head_dim = format == Format::BF16 ? dim : 32;
        const Paged p({length}, fresh);
        HostRows keys(length, kv_heads * head_dim), values(length, kv_heads * head_dim);
        HostRows q(fresh, group * keys.t.columns);
        for (HostRows* m : {&keys, &values, &q}) randomise(*m, rng);
        const Caches a(*ref, p, format, keys, values, head_dim), c(*cuda, p, format, keys, values, head_dim);
        const Uploaded at_ref(*ref, p), at_cuda(*cuda, p);
        const DeviceRows queries(*cuda, q);
        const std::vector<float> all = c.attend(queries, at_cuda.batch_of(Role::prompt, 0, fresh), head_dim);
        CHECK(distance(all, a.attend(q, at_ref.batch, head_dim)) < 5e-5);
        for (auto [first, count] : {std::pair(0, 64), std::pair(8, 12), std::pair(65, 1)}) {
            Tensor some = queries.t;
            some.data = some.row(first), some.rows = count;
            INFO("tokens " << first << " to " << first + count);
            CHECK(same_bits(c.attend(some, at_cuda.batch_of(Role::prompt, first, count), head_dim),
                            part(all, first, count, q.t.columns)));
        }
    }
}

TEST_CASE("CUDA: attention reaches the last positions of the longest contexts", "[slow]") {
    auto ref = Device::open("ref"), cuda = open_cuda();
    constexpr int dim = 8, distinct = 5;
    for (auto [role, length] : {std::pair(Role::generated, 163840), std::pair(Role::prompt, 8300)}) {
        Paged p({distinct * page_positions}, 0);  // these pages stand at all of the positions, again and again
        const int pages = (length + page_positions - 1) / page_positions;
        std::vector<int32_t> repeated;
        for (int i = 0; i < pages; ++i) repeated.push_back(p.pages[size_t(rng() % distinct)]);
        HostRows keys(distinct * page_positions, dim), values(keys.t.rows, dim);
        HostRows q(2, dim);
        for (HostRows* m : {&keys, &values, &q}) randomise(*m, rng);
        const Caches a(*ref, p, Format::BF16, keys, values, dim), c(*cuda, p, Format::BF16, keys, values, dim);
        p.pages = repeated, p.stride = pages, p.position = {length - 2, length - 1}, p.sequence = {0, 0};
        const Uploaded at_ref(*ref, p), at_cuda(*cuda, p);
        const std::vector<float> expected = a.attend(q, at_ref.batch, dim);
        CHECK(distance(c.attend(DeviceRows(*cuda, q), at_cuda.batch_of(role, 0, 2), dim), expected) < 5e-5);
    }
}

TEST_CASE("CUDA: a NaN in V stays with the columns and positions that see it") {
    auto cuda = open_cuda();
    for (Format format : {Format::BF16, Format::E4M3}) {
        const Paged p({70}, 70);
        HostRows keys(70, kv_heads * 64), values(70, kv_heads * 64), q(70, kv_heads * 64);
        for (HostRows* m : {&keys, &values, &q}) randomise(*m, rng);
        values.t.row(68)[3] = NAN;
        const Caches c(*cuda, p, format, keys, values, 64);
        const Uploaded here(*cuda, p);
        const DeviceRows queries(*cuda, q);
        const std::vector<float> y = c.attend(queries, here.batch_of(Role::generated, 0, 70), 64);
        CHECK(std::isnan(y[69 * 128 + 3]));
        CHECK(std::isfinite(y[69 * 128 + 64]));
    }
}
