// Space in /dev/shm that is there for certain: reserved when an object is created, so that a full /dev/shm is an error
// then and not a SIGBUS at some later write. Stateless; may take seconds per GiB, since the kernel clears every page.
#pragma once

#include <cstdint>
#include <string>

namespace ipcq::detail {

inline constexpr const char* kShmDirectory = "/dev/shm";

// Reserves the first `bytes` bytes of the shared memory object behind `fd`, which grows to that size. However often
// signals interrupt it, it comes to its end: kernels before 6.11 undo an interrupted call, so it goes in pieces that
// shrink when they are interrupted. Throws SystemError with `object`: ENOSPC, without a page taken where it is plain
// beforehand; EFBIG instead of SIGXFSZ; ENOMEM.
void reserve(int fd, std::uint64_t bytes, const std::string& object);

// "0 of 1024 inodes are free in /dev/shm"; empty where their number is not limited.
std::string shm_inodes_text();

}  // namespace ipcq::detail
