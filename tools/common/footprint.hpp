// Footprint: what the payloads of one pool take of each kind of memory, known before anything is created.
#pragma once

#include <cstdint>
#include <ipcq/options.hpp>

namespace ipcq::program {

struct Footprint {
  std::uint64_t vram = 0;    // one allocation of whole 2 MiB blocks
  std::uint64_t pinned = 0;  // of the shared memory: mirror, and two words a slot
  std::uint64_t shared = 0;  // in /dev/shm, control blocks left out
};

Footprint host_footprint(std::uint64_t slots, std::uint64_t slot_bytes);
Footprint device_footprint(std::uint64_t slots, std::uint64_t slot_bytes, Mirror mirror);

}  // namespace ipcq::program
