// SideMemory of a GPU. In a build without CUDA there is none.
#pragma once

#include <nanobind/nanobind.h>

#include <cstddef>
#include <memory>
#include <string>

#include "side_memory.hpp"

namespace ipcq::python {

// Pinned memory and VRAM of this GPU; `zeroed`, which its own stream does on the GPU, or unspecified. `where` is for
// exceptions. Throws BackendError. Without the GIL: it takes as long as the kernels that run.
std::unique_ptr<SideMemory> make_gpu_memory(std::size_t bytes, int gpu, bool zeroed, const std::string& where);
// Whether the driver has a GPU of this number.
bool has_gpu(int gpu) noexcept;
// A stream that a caller has passed for memory of a GPU. Throws TypeError (None, or no stream), ValueError (the default
// stream of each thread).
SideMemory::Stream parse_gpu_stream(nb::handle stream);
// The same as a consumer of DLPack passes it. `no_order`: it wants none.
SideMemory::Stream parse_gpu_dlpack_stream(nb::handle stream, bool& no_order);

}  // namespace ipcq::python
