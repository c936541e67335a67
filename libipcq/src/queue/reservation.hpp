// Reserves space in /dev/shm when an object is created, so that a full /dev/shm is an error at creation and not a
// SIGBUS at a later write. Stateless and thread-safe.
#pragma once

#include <cstdint>
#include <string>

namespace ipcq::detail {

inline constexpr const char* kShmDirectory = "/dev/shm";

// Reserves the first `bytes` bytes of the shared memory object behind `fd`, which grows to that size. Takes up to
// seconds per GiB, since the kernel clears every page. Signals cannot prevent it from finishing: kernels before 6.11
// undo an interrupted call, so it reserves in pieces, which get smaller when they are interrupted. Throws SystemError
// naming `object`: ENOSPC (known too little space takes no page first), EFBIG instead of SIGXFSZ, ENOMEM.
void reserve(int fd, std::uint64_t bytes, const std::string& object);

// "0 of 1024 inodes are free in /dev/shm"; empty if their number is not limited.
std::string shm_inodes_text();

}  // namespace ipcq::detail
