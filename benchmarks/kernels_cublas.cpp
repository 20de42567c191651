// cuBLASLt by its C interface: https://docs.nvidia.com/cuda/cublas/#using-the-cublaslt-api
#include "benchmarks/kernels_cublas.h"

#include <array>
#include <cstddef>
#include <dlfcn.h>
#include <limits>
#include <map>
#include <type_traits>
#include <utility>

namespace alia {
namespace {

// Values of cublasLt.h and library_types.h.
constexpr int real_32 = 0, brain_16 = 14, compute_32 = 68, transposed = 1, desc_transpose_a = 3, max_workspace = 1;
struct Algorithm {
    uint64_t data[8];
};
struct Heuristic {
    Algorithm algorithm;
    size_t workspace;
    int state;
    float waves;
    int reserved[4];
};
using Handle = void*;
constexpr int most_suggestions = 8;

}  // namespace

struct Cublas::Library {
    void *blas = nullptr, *driver = nullptr;
    int (*create)(Handle*) = nullptr;
    int (*destroy)(Handle) = nullptr;
    int (*create_product)(Handle*, int compute, int scale) = nullptr;
    int (*destroy_product)(Handle) = nullptr;
    int (*set_product)(Handle, int attribute, const void*, size_t) = nullptr;
    int (*create_layout)(Handle*, int type, uint64_t rows, uint64_t columns, int64_t leading) = nullptr;
    int (*destroy_layout)(Handle) = nullptr;
    int (*create_preference)(Handle*) = nullptr;
    int (*destroy_preference)(Handle) = nullptr;
    int (*set_preference)(Handle, int attribute, const void*, size_t) = nullptr;
    int (*find)(Handle, Handle product, Handle a, Handle b, Handle c, Handle d, Handle preference, int wanted,
                Heuristic*, int* found) = nullptr;
    int (*run)(Handle, Handle product, const void* alpha, const void* a, Handle, const void* b, Handle,
               const void* beta, const void* c, Handle, void* d, Handle, const Algorithm*, void* workspace, size_t,
               void* stream) = nullptr;
    int (*start)(unsigned) = nullptr;
    int (*get_device)(int*, int ordinal) = nullptr;
    int (*retain)(Handle* context, int device) = nullptr;
    int (*release)(int device) = nullptr;
    int (*set_current)(Handle context) = nullptr;
    int (*synchronise)() = nullptr;

    int device = -1;
    Handle context = nullptr;  // the one that the runtime uses
    Handle handle = nullptr, product = nullptr, w = nullptr, x = nullptr, y = nullptr;
    Algorithm chosen = {};
    std::map<std::array<int64_t, 3>, Algorithm> fastest;  // by rows, columns and n
    void* workspace = nullptr;
    int64_t workspace_bytes = 0;
    bool failed = false;

    bool open(int ordinal) {
        for (const char* name : {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"})
            if ((blas = dlopen(name, RTLD_NOW | RTLD_LOCAL))) break;
        driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
        if (!blas || !driver) return false;
        auto take = [](void* from, const char* name, auto& to) {
            to = reinterpret_cast<std::remove_reference_t<decltype(to)>>(dlsym(from, name));
            return to != nullptr;
        };
        return take(blas, "cublasLtCreate", create) && take(blas, "cublasLtDestroy", destroy) &&
               take(blas, "cublasLtMatmulDescCreate", create_product) &&
               take(blas, "cublasLtMatmulDescDestroy", destroy_product) &&
               take(blas, "cublasLtMatmulDescSetAttribute", set_product) &&
               take(blas, "cublasLtMatrixLayoutCreate", create_layout) &&
               take(blas, "cublasLtMatrixLayoutDestroy", destroy_layout) &&
               take(blas, "cublasLtMatmulPreferenceCreate", create_preference) &&
               take(blas, "cublasLtMatmulPreferenceDestroy", destroy_preference) &&
               take(blas, "cublasLtMatmulPreferenceSetAttribute", set_preference) &&
               take(blas, "cublasLtMatmulAlgoGetHeuristic", find) && take(blas, "cublasLtMatmul", run) &&
               take(driver, "cuInit", start) && take(driver, "cuDeviceGet", get_device) &&
               take(driver, "cuDevicePrimaryCtxRetain", retain) &&
               take(driver, "cuDevicePrimaryCtxRelease_v2", release) && take(driver, "cuCtxSetCurrent", set_current) &&
               take(driver, "cuCtxSynchronize", synchronise) && start(0) == 0 && get_device(&device, ordinal) == 0 &&
               retain(&context, device) == 0 && set_current(context) == 0 && create(&handle) == 0;
    }
    void forget() {
        if (product) destroy_product(product);
        for (Handle* layout : {&w, &x, &y})
            if (*layout) destroy_layout(*layout), *layout = nullptr;
        product = nullptr;
    }
    ~Library() {
        if (handle) forget(), destroy(handle);
        if (context) release(device);
        if (driver) dlclose(driver);
        if (blas) dlclose(blas);
    }
};

Cublas::Cublas(std::unique_ptr<Library> l) : library(std::move(l)) {}
Cublas::~Cublas() = default;

std::unique_ptr<Cublas> Cublas::open(int ordinal) {
    auto l = std::make_unique<Library>();
    return l->open(ordinal) ? std::unique_ptr<Cublas>(new Cublas(std::move(l))) : nullptr;
}

// By columns, as the library counts: y^T [rows][n] = (w^T)^T x^T.
bool Cublas::choose(int64_t rows, int64_t columns, int64_t n, void* workspace, int64_t bytes,
                    const std::function<double()>& seconds) {
    Library& l = *library;
    l.forget();
    l.workspace = workspace, l.workspace_bytes = bytes, l.failed = false;
    if (l.set_current(l.context) != 0 || l.create_product(&l.product, compute_32, real_32) != 0 ||
        l.set_product(l.product, desc_transpose_a, &transposed, sizeof transposed) != 0 ||
        l.create_layout(&l.w, brain_16, uint64_t(columns), uint64_t(rows), columns) != 0 ||
        l.create_layout(&l.x, brain_16, uint64_t(columns), uint64_t(n), columns) != 0 ||
        l.create_layout(&l.y, brain_16, uint64_t(rows), uint64_t(n), rows) != 0)
        return false;
    const auto [at, is_new] = l.fastest.try_emplace({rows, columns, n});
    l.chosen = at->second;
    if (!is_new) return true;
    Handle preference = nullptr;
    Heuristic suggested[most_suggestions];
    const uint64_t most = uint64_t(bytes);
    int found = 0;
    const bool good =
        l.create_preference(&preference) == 0 && l.set_preference(preference, max_workspace, &most, sizeof most) == 0 &&
        l.find(l.handle, l.product, l.w, l.x, l.y, l.y, preference, most_suggestions, suggested, &found) == 0;
    if (preference) l.destroy_preference(preference);
    double least = std::numeric_limits<double>::infinity();
    for (int i = 0; good && i < found; ++i) {
        if (suggested[i].state != 0) continue;
        l.chosen = suggested[i].algorithm;
        if (const double s = seconds(); s < least) least = s, at->second = l.chosen;
    }
    l.chosen = at->second;
    if (least < std::numeric_limits<double>::infinity()) return true;
    l.fastest.erase(at);
    return false;
}

void Cublas::multiply(void* y, const void* x, const void* w) {
    Library& l = *library;
    const float one = 1, zero = 0;
    l.failed |= l.run(l.handle, l.product, &one, w, l.w, x, l.x, &zero, y, l.y, y, l.y, &l.chosen, l.workspace,
                      size_t(l.workspace_bytes), nullptr) != 0;
}

bool Cublas::wait() { return library->synchronise() == 0 && !std::exchange(library->failed, false); }

}  // namespace alia
