// cuBLASLt's BF16 products beside ours: the library is opened at run time where it is installed, and never needed.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>

namespace alia {

// Products on one device, on its default stream, by calls from one thread.
class Cublas {
  public:
    // Null where libcublasLt or the driver's library is not there. `ordinal` is the runtime's number of the device.
    static std::unique_ptr<Cublas> open(int ordinal);
    ~Cublas();
    Cublas(const Cublas&) = delete;
    Cublas& operator=(const Cublas&) = delete;

    // y [n][rows] = x [n][columns] w^T, w [rows][columns]; all BF16 in device memory, rows one behind another. Chooses
    // among the algorithms that the library suggests for the shape, which may use `bytes` of `workspace`: the one with
    // which `seconds`, that multiplies by it, gives least. A shape's is chosen once. False where the library has none.
    bool choose(int64_t rows, int64_t columns, int64_t n, void* workspace, int64_t bytes,
                const std::function<double()>& seconds);
    void multiply(void* y, const void* x, const void* w);  // queued; a failure shows in `wait`
    bool wait();  // until all is done; false where something failed since the last

  private:
    struct Library;
    explicit Cublas(std::unique_ptr<Library>);
    std::unique_ptr<Library> library;
};

}  // namespace alia
