// A kernel table with memory and a stream: where a model lives and runs.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/error.h"
#include "kernels/ops.h"
#include "kernels/processors.h"

namespace alia {

// Calls on one Device come from one thread at a time.
class Device {
  public:
    // "auto", "cpu" (the best table that the processor runs), "cpu:base", "ref", "cuda:0". An empty name reads the
    // environment's ALIA_DEVICE, and is "auto" without it. Fails with device_unavailable, saying what there is.
    static std::unique_ptr<Device> open(std::string_view name = {}, const DeviceOptions& = {});

    Device(const Kernels&, const DeviceOptions&);
    ~Device();
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;

    const Kernels& kernels;
    const DeviceOptions options;
    Stream* const stream;
};

// A name that Device::open knows.
struct DeviceReport {
    std::string name;        // "cpu:avx2"
    std::string title = {};  // a card's
    int64_t memory = 0;      // a card's, bytes
    std::string reason;      // why it cannot be opened here; "" where it can
};

// What there is on this machine for this build.
struct MachineReport {
    std::vector<DeviceReport> devices;      // the best first, those that cannot be opened too
    std::string chosen;                     // the one that "auto" opens
    Processors processors;                  // of which CPU devices take the usable ones where no number is asked for
    bool cuda = false;                      // built in
    int cuda_driver = 0, cuda_runtime = 0;  // the newest CUDA of the driver, and the build's: 1000 major + 10 minor
    std::string cuda_reason;                // why there are no cards
};
MachineReport describe_machine();

// Memory on a device, freed with its owner. The device outlives it.
class Buffer {
  public:
    Buffer() = default;
    Buffer(Device& device, int64_t bytes, Home = Home::device);
    Buffer(Buffer&&) noexcept;
    Buffer& operator=(Buffer&&) noexcept;
    ~Buffer();

    std::byte* data() const { return memory; }
    int64_t size() const { return bytes; }

  private:
    Device* device = nullptr;
    std::byte* memory = nullptr;
    int64_t bytes = 0;
    Home home = Home::device;
};

}  // namespace alia
