// Operations as expressions: each checks its shapes, takes its result from the arena and calls the device's table.
#pragma once
#include "engine/model.h"

namespace alia {

// Memory of one pass, handed out in order and taken back by scopes. Without memory it only measures.
class Arena {
  public:
    Arena() = default;  // measures
    explicit Arena(const Buffer& b) : memory(b.data()), size(b.size()) {}

    void* take(int64_t bytes);  // 64-byte aligned; null while measuring
    bool measuring() const { return memory == nullptr; }
    int64_t peak() const { return highest; }

    // Gives back, when it ends, what was taken since it began.
    class Scope {
      public:
        explicit Scope(Arena& a) : arena(a), mark(a.used) {}
        ~Scope() { arena.used = mark; }
        Scope(const Scope&) = delete;
        Scope& operator=(const Scope&) = delete;

      private:
        Arena& arena;
        int64_t mark;
    };

  private:
    std::byte* memory = nullptr;
    int64_t size = 0, used = 0, highest = 0;
};

// Told of each matrix product before it is computed; x is on the device.
struct Observer {
    void (*see)(void* context, Tensor x, const Weight& w) = nullptr;
    void* context = nullptr;
};

// Made for one pass and its role. Shape errors are defects of the caller: Status::internal, with names and numbers.
struct Ops {
    const Kernels& kernels;
    Stream* stream;  // unused while the arena measures
    Arena& arena;
    Role role;
    Observer observer = {};

    Arena::Scope scope() { return Arena::Scope(arena); }
    Tensor matrix(int64_t rows, int64_t columns, Format = Format::F32);  // uninitialised
    Tensor operand(int64_t rows, int64_t columns) { return matrix(rows, columns, kernels.operand_format); }

    Tensor embed(Tensor w, const int32_t* token, int n);
    Tensor norm(Tensor x, const float* w, double eps);
    void add_norm(Tensor y, Tensor x, Tensor a, const float* w, double eps);
    Tensor linear(Tensor x, const Weight& w);
    Tensor linear_glu(Tensor x, const Weight& gate_up);
    Tensor angles(const int32_t* position, int n, const Rope& rope);
    void rotate_store(Tensor q, Tensor k, Tensor v, Tensor angles, Tensor k_cache, Tensor v_cache, const int32_t* slot);
    Tensor attend(Tensor q, Tensor k, Tensor v, const Batch& b, int64_t head_dim);
    Tensor rows(Tensor x, const int32_t* index, int n);
    Tensor columns(Tensor x, const int32_t* index);  // all of them, in another order
};

}  // namespace alia
