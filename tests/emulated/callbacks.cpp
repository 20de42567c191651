// What the compiler calls at every access of code compiled with -fsanitize=thread,alignment. The sanitizers' own
// libraries are not linked. Their functions:
// https://github.com/llvm/llvm-project/blob/main/compiler-rt/lib/tsan/rtl/tsan_interface.h and
// compiler-rt/lib/ubsan/ubsan_handlers.h there.
#include "tests/emulated/block.h"

using emulated::touch;

#define ALIA_ACCESSES(n)                                                           \
    void __tsan_read##n(void* p) { touch(p, n, false); }                           \
    void __tsan_write##n(void* p) { touch(p, n, true); }                           \
    void __tsan_volatile_read##n(void* p) { touch(p, n, false); }                  \
    void __tsan_volatile_write##n(void* p) { touch(p, n, true); }                  \
    void __tsan_unaligned_read##n(void* p) { touch(p, n, false, false); }          \
    void __tsan_unaligned_write##n(void* p) { touch(p, n, true, false); }          \
    void __tsan_unaligned_volatile_read##n(void* p) { touch(p, n, false, false); } \
    void __tsan_unaligned_volatile_write##n(void* p) { touch(p, n, true, false); }

extern "C" {
ALIA_ACCESSES(1)
ALIA_ACCESSES(2)
ALIA_ACCESSES(4)
ALIA_ACCESSES(8)
ALIA_ACCESSES(16)
void __tsan_read_range(void* p, unsigned long n) { touch(p, n, false, false); }
void __tsan_write_range(void* p, unsigned long n) { touch(p, n, true, false); }
// Vectors of 8 and 16 bytes are accessed by parts: their own alignment is checked here.
void __ubsan_handle_type_mismatch_v1(void*, uintptr_t p) { emulated::misaligned(reinterpret_cast<void*>(p)); }
void __ubsan_handle_type_mismatch_v1_abort(void*, uintptr_t p) { emulated::misaligned(reinterpret_cast<void*>(p)); }
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
}

// Atomics of host code; kernels have none.
#define ALIA_FETCH(bits, name, builtin)                                                    \
    uint##bits##_t __tsan_atomic##bits##_##name(volatile void* p, uint##bits##_t v, int) { \
        return builtin(static_cast<volatile uint##bits##_t*>(p), v, __ATOMIC_SEQ_CST);     \
    }
#define ALIA_ATOMICS(bits)                                                                                            \
    uint##bits##_t __tsan_atomic##bits##_load(const volatile void* p, int) {                                          \
        return __atomic_load_n(static_cast<const volatile uint##bits##_t*>(p), __ATOMIC_SEQ_CST);                     \
    }                                                                                                                 \
    void __tsan_atomic##bits##_store(volatile void* p, uint##bits##_t v, int) {                                       \
        __atomic_store_n(static_cast<volatile uint##bits##_t*>(p), v, __ATOMIC_SEQ_CST);                              \
    }                                                                                                                 \
    ALIA_FETCH(bits, exchange, __atomic_exchange_n)                                                                   \
    ALIA_FETCH(bits, fetch_add, __atomic_fetch_add)                                                                   \
    ALIA_FETCH(bits, fetch_sub, __atomic_fetch_sub)                                                                   \
    ALIA_FETCH(bits, fetch_and, __atomic_fetch_and)                                                                   \
    ALIA_FETCH(bits, fetch_or, __atomic_fetch_or)                                                                     \
    ALIA_FETCH(bits, fetch_xor, __atomic_fetch_xor)                                                                   \
    int __tsan_atomic##bits##_compare_exchange_strong(volatile void* p, void* expected, uint##bits##_t v, int, int) { \
        return __atomic_compare_exchange_n(static_cast<volatile uint##bits##_t*>(p),                                  \
                                           static_cast<uint##bits##_t*>(expected), v, false, __ATOMIC_SEQ_CST,        \
                                           __ATOMIC_SEQ_CST);                                                         \
    }                                                                                                                 \
    int __tsan_atomic##bits##_compare_exchange_weak(volatile void* p, void* expected, uint##bits##_t v, int a,        \
                                                    int b) {                                                          \
        return __tsan_atomic##bits##_compare_exchange_strong(p, expected, v, a, b);                                   \
    }
extern "C" {
ALIA_ATOMICS(8)
ALIA_ATOMICS(16)
ALIA_ATOMICS(32)
ALIA_ATOMICS(64)
void __tsan_atomic_thread_fence(int) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
}
