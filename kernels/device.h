// A kernel table with memory and a stream: where a model lives and runs.
#pragma once
#include <memory>
#include <span>
#include <string_view>

#include "kernels/error.h"
#include "kernels/ops.h"

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
