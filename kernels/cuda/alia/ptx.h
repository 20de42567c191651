// What C++ and the CUDA runtime cannot say: asynchronous copies, matrix fragments, tensor cores, packed arithmetic.
// tests/emulated/alia/ptx.h declares the same for the emulated device.
//
// Fragments are those of the PTX manual, section "Matrix Fragments for mma.m16n8k16":
// https://docs.nvidia.com/cuda/parallel-thread-execution/. With g = lane / 4 and t = lane % 4:
//     A [16][16]: a[0] = (g, 2t..2t+1), a[1] = (g + 8, 2t..), a[2] = (g, 2t + 8..), a[3] = (g + 8, 2t + 8..)
//     B [16][8]:  b[0] = (2t..2t+1, g), b[1] = (2t + 8.., g)
//     C [16][8]:  c[0] = (g, 2t), c[1] = (g, 2t + 1), c[2] = (g + 8, 2t), c[3] = (g + 8, 2t + 1)
// The element of the lower index is in the lower half of a register.
#pragma once
#include <cstdint>
#include <cuda_runtime.h>

namespace alia {

constexpr int warp_size = 32;

// The block's dynamic shared memory, 128-byte aligned.
template <class T>
__device__ T& shared() {
    extern __shared__ __align__(128) unsigned char memory[];
    return *reinterpret_cast<T*>(memory);
}

// ---- Copies from global to shared memory that the thread does not wait for

// 16 bytes, both sides 16-byte aligned. The first `bytes`, up to 16, are read; the rest are zeros.
__device__ inline void cp_async16_part(void* shared, const void* global, int bytes) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(uint32_t(__cvta_generic_to_shared(shared))),
                 "l"(global), "r"(bytes)
                 : "memory");
}
__device__ inline void cp_async16(void* shared, const void* global, bool valid = true) {
    cp_async16_part(shared, global, valid ? 16 : 0);
}
// Closes the group of this thread's copies since the last one.
__device__ inline void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits for this thread's groups but the newest `pending`. Other threads' copies need a barrier after it.
template <int pending>
__device__ void cp_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

// 16 bytes that will not be read again by this multiprocessor; constant while the kernel runs.
__device__ inline uint4 load_once(const void* global) {
    uint4 v;
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(global));
    return v;
}

// ---- Matrix fragments and products; all 32 lanes together

// Four 8 x 8 matrices of 16 bits: lane l gives row l % 8 of matrix l / 8 (16 bytes, aligned) and gets of matrix i, in
// r[i], row lane / 4, columns 2 (lane % 4) and the next.
__device__ inline void ldmatrix(uint32_t (&r)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(uint32_t(__cvta_generic_to_shared(row)))
                 : "memory");
}
// The same of the transposed matrices.
__device__ inline void ldmatrix_transposed(uint32_t (&r)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(uint32_t(__cvta_generic_to_shared(row)))
                 : "memory");
}

// c += a b
__device__ inline void mma_bf16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// c += a b in E4M3 (capability 8.9; a fault below). Fragments of "Matrix Fragments for mma.m16n8k32": four neighbouring
// bytes a register, the lower index in the lower byte; C as above.
//     A [16][32]: a[0] = (g, 4t..4t+3), a[1] = (g + 8, 4t..), a[2] = (g, 4t + 16..), a[3] = (g + 8, 4t + 16..)
//     B [32][8]:  b[0] = (4t..4t+3, g), b[1] = (4t + 16.., g)
__device__ inline void mma_e4m3(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#if __CUDA_ARCH__ >= 890
    asm volatile(
        "mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    asm volatile("trap;" : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(b[0]));
#endif
}

// ---- Two 16-bit numbers in a register, the first in the lower half

// Rounded to the nearest, ties to even.
__device__ inline uint32_t pack_bf16(float low, float high) {
    uint32_t v;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(v) : "f"(high), "f"(low));
    return v;
}
__device__ inline float2 unpack_f16(uint32_t v) {
    float2 f;
    asm("{.reg .f16 low, high; mov.b32 {low, high}, %2; cvt.f32.f16 %0, low; cvt.f32.f16 %1, high;}"
        : "=f"(f.x), "=f"(f.y)
        : "r"(v));
    return f;
}
// a * b + c, each half rounded once.
__device__ inline uint32_t fma_bf16x2(uint32_t a, uint32_t b, uint32_t c) {
    uint32_t v;
    asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(v) : "r"(a), "r"(b), "r"(c));
    return v;
}

// 2^x within 2 units of the last place, subnormals as zero; 2^-inf = 0.
__device__ inline float exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// ---- Kernels that overlap the end of the one before (programmatic dependent launch, capability 9.0 and up)

// Waits until the kernel before has ended and its writes are seen. Every kernel calls it, before it reads what another
// kernel wrote or writes what another may still read.
__device__ inline void grid_wait() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
// Lets the next kernel begin once every block has called it or ended.
__device__ inline void grid_launch_next() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

}  // namespace alia
