// Each wrapper of alia/ptx.h against host arithmetic: compiled by nvcc, those of a card; as C++, the emulated device's.
// Returns 77 where there is no card that can run it, 1 where a number differs. Products are of small integers, so that
// every order of summing gives the same.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "alia/ptx.h"
#include "kernels/formats.h"

namespace {

using namespace alia;

constexpr int skipped = 77;
int failures = 0;
std::mt19937 rng(20261125);
cudaStream_t stream;

void need(cudaError_t e, const char* what) {
    if (e == cudaSuccess) return;
    std::printf("%s: %s (%s)\n", what, cudaGetErrorName(e), cudaGetErrorString(e));
    std::exit(1);
}

template <class T>
struct OnCard {
    explicit OnCard(const std::vector<T>& v) : count(v.size()) {
        need(cudaMalloc(&data, count * sizeof(T)), "cudaMalloc");
        need(cudaMemcpy(data, v.data(), count * sizeof(T), cudaMemcpyHostToDevice), "cudaMemcpy");
        need(cudaDeviceSynchronize(), "cudaMemcpy");  // it may still be on its way, and `stream` waits for none
    }
    explicit OnCard(size_t n) : OnCard(std::vector<T>(n)) {}
    OnCard(const OnCard&) = delete;
    ~OnCard() { cudaFree(data); }
    std::vector<T> read() const {
        need(cudaStreamSynchronize(stream), "kernel");
        std::vector<T> v(count);
        need(cudaMemcpy(v.data(), data, count * sizeof(T), cudaMemcpyDeviceToHost), "cudaMemcpy");
        return v;
    }
    T* data = nullptr;
    size_t count;
};

template <class... Parameters, class... Arguments>
void start(void (*kernel)(Parameters...), int blocks, int threads, int shared, Arguments... arguments) {
    cudaLaunchConfig_t config{};
    config.gridDim = dim3(unsigned(blocks)), config.blockDim = dim3(unsigned(threads));
    config.dynamicSmemBytes = size_t(shared), config.stream = stream;
    need(cudaLaunchKernelEx(&config, kernel, arguments...), "cudaLaunchKernelEx");
}

template <class T>
void expect(const char* what, const std::vector<T>& got, const std::vector<T>& wanted) {
    size_t bad = got.size() == wanted.size() ? 0 : 1, first = 0;
    for (size_t i = got.size(); i-- > 0 && got.size() == wanted.size();)
        if (std::memcmp(&got[i], &wanted[i], sizeof(T)) != 0) ++bad, first = i;
    if (bad == 0) return void(std::printf("%-20s ok, %zu numbers\n", what, got.size()));
    std::printf("%-20s FAILED: %zu of %zu differ, the first at %zu: %.9g, not %.9g\n", what, bad, got.size(), first,
                double(got[first]), double(wanted[first]));
    ++failures;
}

std::vector<uint32_t> random_words(size_t n) {
    std::vector<uint32_t> v(n);
    for (uint32_t& word : v) word = uint32_t(rng());
    return v;
}

// ---- Copies

// Two groups of 512 bytes; of the second one, lanes read 0, 4, 8, 12 or 16 bytes.
__global__ void copy_kernel(uint4* to, const uint4* from) {
    uint4* s = &shared<uint4>();
    const int lane = int(threadIdx.x);
    s[lane] = s[lane + 32] = make_uint4(~0u, ~0u, ~0u, ~0u);
    __syncthreads();
    cp_async16(&s[lane], &from[lane]);
    cp_async_commit();
    cp_async16_part(&s[lane + 32], &from[lane + 32], lane % 5 * 4);
    cp_async_commit();
    cp_async_wait<1>();
    __syncthreads();
    to[lane] = s[lane ^ 1];
    cp_async_wait<0>();
    __syncthreads();
    to[lane + 32] = s[32 + (lane ^ 1)];
    to[lane + 64] = load_once(&from[lane]);
}

void copies() {
    const auto source = random_words(256);
    const OnCard<uint32_t> from(source), to(384);
    start(copy_kernel, 1, 32, 1024, reinterpret_cast<uint4*>(to.data), reinterpret_cast<const uint4*>(from.data));
    std::vector<uint32_t> wanted;
    for (int part = 0; part < 3; ++part)
        for (int lane = 0; lane < 32; ++lane)
            for (int w = 0; w < 4; ++w) {
                const int at = part == 2 ? lane : lane ^ 1;
                const bool zero = part == 1 && w >= at % 5;
                wanted.push_back(zero ? 0 : source[size_t(4 * (at + (part == 1 ? 32 : 0)) + w)]);
            }
    expect("cp_async, load_once", to.read(), wanted);
}

// ---- Fragments

__global__ void ldmatrix_kernel(uint32_t* to, const uint4* from) {
    uint4* s = &shared<uint4>();
    const int lane = int(threadIdx.x);
    s[lane] = from[lane];
    __syncthreads();
    uint32_t plain[4], transposed[4];
    ldmatrix(plain, &s[lane]);
    ldmatrix_transposed(transposed, &s[lane]);
    for (int i = 0; i < 4; ++i) to[8 * lane + i] = plain[i], to[8 * lane + 4 + i] = transposed[i];
}

void matrices() {
    const auto source = random_words(128);
    const OnCard<uint32_t> from(source), to(256);
    start(ldmatrix_kernel, 1, 32, 512, to.data, reinterpret_cast<const uint4*>(from.data));
    auto element = [&](int matrix, int row, int column) {
        return source[size_t(4 * (8 * matrix + row) + column / 2)] >> 16 * (column % 2) & 0xFFFF;
    };
    std::vector<uint32_t> wanted(256);
    for (int lane = 0; lane < 32; ++lane)
        for (int i = 0; i < 4; ++i) {
            const int g = lane / 4, t = lane % 4 * 2;
            wanted[size_t(8 * lane + i)] = element(i, g, t) | element(i, g, t + 1) << 16;
            wanted[size_t(8 * lane + 4 + i)] = element(i, t, g) | element(i, t + 1, g) << 16;
        }
    expect("ldmatrix", to.read(), wanted);
}

template <bool e4m3>
__global__ void mma_kernel(float* c, const uint32_t* a, const uint32_t* b) {
    const int lane = int(threadIdx.x);
    uint32_t x[4], y[2];
    float sum[4];
    for (int i = 0; i < 4; ++i) x[i] = a[4 * lane + i], sum[i] = c[4 * lane + i];
    for (int i = 0; i < 2; ++i) y[i] = b[2 * lane + i];
    if constexpr (e4m3)
        mma_e4m3(sum, x, y);
    else
        mma_bf16(sum, x, y);
    for (int i = 0; i < 4; ++i) c[4 * lane + i] = sum[i];
}

// K columns, `packed` numbers a register.
template <bool e4m3>
void products() {
    constexpr int packed = e4m3 ? 4 : 2, K = 8 * packed;
    auto bits = [](int n) { return e4m3 ? uint32_t(to_e4m3(float(n))) : uint32_t(to_bf16(float(n)).bits); };
    std::uniform_int_distribution<int> small(-8, 8);
    int a[16][K], b[K][8];
    std::vector<uint32_t> packed_a(128), packed_b(64);
    std::vector<float> c(128), wanted(128);
    for (auto& row : a)
        for (int& n : row) n = small(rng);
    for (auto& row : b)
        for (int& n : row) n = small(rng);
    for (int lane = 0; lane < 32; ++lane) {
        const int g = lane / 4, t = lane % 4;
        for (int e = 0; e < packed; ++e) {
            const int column = packed * t + e, shift = 32 / packed * e;
            for (int i = 0; i < 4; ++i)  // rows g and g + 8, then the same of the second half of the columns
                packed_a[size_t(4 * lane + i)] |= bits(a[g + i % 2 * 8][column + i / 2 * K / 2]) << shift;
            for (int i = 0; i < 2; ++i) packed_b[size_t(2 * lane + i)] |= bits(b[column + i * K / 2][g]) << shift;
        }
        for (int i = 0; i < 4; ++i) {
            int sum = small(rng);
            c[size_t(4 * lane + i)] = float(sum);
            for (int k = 0; k < K; ++k) sum += a[g + i / 2 * 8][k] * b[k][2 * t + i % 2];
            wanted[size_t(4 * lane + i)] = float(sum);
        }
    }
    const OnCard<uint32_t> x(packed_a), y(packed_b);
    const OnCard<float> sums(c);
    start(mma_kernel<e4m3>, 1, 32, 0, sums.data, static_cast<const uint32_t*>(x.data),
          static_cast<const uint32_t*>(y.data));
    expect(e4m3 ? "mma_e4m3" : "mma_bf16", sums.read(), wanted);
}

// What the code was compiled for, 10 * major + minor: a newer card runs it too.
int code_capability() {
    cudaFuncAttributes code;
    need(cudaFuncGetAttributes(&code, mma_kernel<true>), "cudaFuncGetAttributes");
    return code.ptxVersion;
}

// ---- Arithmetic on pairs

constexpr int pair_results = 4;

__global__ void pair_kernel(uint32_t* to, const float* f, const uint32_t* brain, const uint32_t* half, int n) {
    const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
    if (i >= n) return;
    const float2 both = unpack_f16(half[i]);
    uint32_t* out = to + pair_results * i;
    out[0] = pack_bf16(f[2 * i], f[2 * i + 1]);
    out[1] = __float_as_uint(both.x);
    out[2] = __float_as_uint(both.y);
    out[3] = fma_bf16x2(brain[3 * i], brain[3 * i + 1], brain[3 * i + 2]);
}

uint32_t both_bf16(float low, float high) { return to_bf16(low).bits | uint32_t(to_bf16(high).bits) << 16; }
uint32_t both_f16(float low, float high) { return to_f16(low).bits | uint32_t(to_f16(high).bits) << 16; }
float brain_at(uint32_t v, int i) { return to_float(bf16{uint16_t(v >> 16 * i)}); }
float half_at(uint32_t v, int i) { return to_float(f16{uint16_t(v >> 16 * i)}); }

// Numbers of a few binary places: their sums are exact in float, and rounding to 16 bits is then the only one.
void pairs() {
    constexpr int n = 4096;
    std::uniform_int_distribution<int> places(-2047, 2047);
    std::normal_distribution<float> normal;
    auto few = [&](int most) { return float(places(rng) % most) / 64; };
    std::vector<float> f(2 * n);
    std::vector<uint32_t> brain(3 * n), half(n), wanted;
    for (float& x : f) x = normal(rng) * std::exp2(float(places(rng) % 12));
    f[0] = 1 + 0x1p-8f, f[1] = 1 + 3 * 0x1p-8f;  // ties
    for (uint32_t& v : brain) v = both_bf16(few(256), few(256));
    for (uint32_t& v : half) v = both_f16(few(2048), few(2048));
    for (size_t i = 0; i < n; ++i) {
        const uint32_t* b = &brain[3 * i];
        auto sum = [](float x, float y, float z) { return float(double(x) * double(y) + double(z)); };
        const float unpacked[] = {half_at(half[i], 0), half_at(half[i], 1)};
        uint32_t words[2];
        std::memcpy(words, unpacked, sizeof words);
        for (uint32_t word : {both_bf16(f[2 * i], f[2 * i + 1]), words[0], words[1],
                              both_bf16(sum(brain_at(b[0], 0), brain_at(b[1], 0), brain_at(b[2], 0)),
                                        sum(brain_at(b[0], 1), brain_at(b[1], 1), brain_at(b[2], 1)))})
            wanted.push_back(word);
    }
    const OnCard<float> df(f);
    const OnCard<uint32_t> db(brain), dh(half), to(size_t(pair_results) * n);
    start(pair_kernel, n / 128, 128, 0, to.data, static_cast<const float*>(df.data),
          static_cast<const uint32_t*>(db.data), static_cast<const uint32_t*>(dh.data), n);
    const auto all = to.read();
    const char* names[pair_results] = {"pack_bf16", "unpack_f16 low", "unpack_f16 high", "fma_bf16x2"};
    for (size_t k = 0; k < pair_results; ++k) {
        std::vector<uint32_t> got, right;
        for (size_t i = 0; i < n; ++i)
            got.push_back(all[pair_results * i + k]), right.push_back(wanted[pair_results * i + k]);
        expect(names[k], got, right);
    }
}

// ---- Powers

__global__ void exp2_kernel(float* y, int n) {
    const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < n) y[i] = exp2_fast(y[i]);
}

void powers() {
    std::vector<float> x = {0, -0.0f, 1, -1, 10, -126, -INFINITY, INFINITY, -1000, 0x1p-140f};
    for (int i = 0; i < 8192; ++i) x.push_back(-125 + float(i) * 0.03f);
    const OnCard<float> y(x);
    start(exp2_kernel, int(x.size() + 127) / 128, 128, 0, y.data, int(x.size()));
    const auto got = y.read();
    double worst = 0;
    for (size_t i = 0; i < x.size(); ++i) {
        const double right = std::exp2(double(x[i]));
        if (right < 0x1p-126 || std::isinf(float(right))) {
            if (got[i] != (right < 1 ? 0.0f : INFINITY)) worst = INFINITY;
            continue;
        }
        const double place = std::exp2(std::floor(std::log2(right)) - 23);
        worst = std::fmax(worst, std::fabs(double(got[i]) - right) / place);
    }
    const bool good = worst <= 2.0;
    std::printf("%-20s %s, within %.2f units of the last place\n", "exp2_fast", good ? "ok" : "FAILED", worst);
    failures += !good;
}

// ---- Kernels that overlap

__global__ void before_kernel(uint32_t* v, uint32_t from) {
    grid_wait();
    grid_launch_next();
#ifdef __CUDA_ARCH__
    for (int i = 0; i < 1000; ++i) __nanosleep(100);  // the next kernel is there before the write
#endif
    v[blockIdx.x * blockDim.x + threadIdx.x] += from;
}

void overlaps() {
    constexpr int blocks = 32, threads = 64, rounds = 20;
    const OnCard<uint32_t> v(size_t(blocks * threads));
    cudaLaunchAttribute early{};
    early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    early.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config{};
    config.gridDim = dim3(blocks), config.blockDim = dim3(threads);
    config.attrs = &early, config.stream = stream;
    config.numAttrs = code_capability() >= 90 ? 1 : 0;
    for (uint32_t i = 1; i <= rounds; ++i)
        need(cudaLaunchKernelEx(&config, before_kernel, v.data, i), "cudaLaunchKernelEx");
    expect("grid_wait", v.read(), std::vector<uint32_t>(size_t(blocks * threads), rounds * (rounds + 1) / 2));
}

}  // namespace

int main() {
    int cards = 0, major = 0;
    if (const cudaError_t e = cudaGetDeviceCount(&cards); e != cudaSuccess || cards == 0) {
        std::printf("skipped: there is no CUDA card here (%s)\n", cudaGetErrorString(e));
        return skipped;
    }
    need(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0), "cudaDeviceGetAttribute");
    if (major < 8) {
        std::printf("skipped: the card has capability %d and the kernels need 8\n", major);
        return skipped;
    }
    need(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    copies();
    matrices();
    products<false>();
    if (code_capability() >= 89) products<true>();
    pairs();
    powers();
    overlaps();
    need(cudaStreamDestroy(stream), "cudaStreamDestroy");
    return failures != 0;
}
