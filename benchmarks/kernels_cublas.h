// cuBLASLt's BF16 products beside ours: the library is opened at run time where it is installed, and never needed.
#pragma once
#include <cstdint>
#include <memory>

namespace alia {

// Products on the device that is current in the calling thread, on its default stream.
class Cublas {
  public:
    // Null where libcublasLt or the driver's library is not there.
    static std::unique_ptr<Cublas> open();
    ~Cublas();
    Cublas(const Cublas&) = delete;
    Cublas& operator=(const Cublas&) = delete;

    // y [n][rows] = x [n][columns] w^T, w [rows][columns]; all BF16 in device memory, rows one behind another. Chooses
    // an algorithm for the shape that may use `bytes` of `workspace`. False where the library has none.
    bool choose(int64_t rows, int64_t columns, int64_t n, void* workspace, int64_t bytes);
    void multiply(void* y, const void* x, const void* w);  // queued; a failure shows in `wait`
    bool wait();                                           // until all is done; false where something failed

  private:
    struct Library;
    explicit Cublas(std::unique_ptr<Library>);
    std::unique_ptr<Library> library;
};

}  // namespace alia
