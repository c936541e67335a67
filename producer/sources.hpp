// Where a producer's messages come from. Each function runs until the source or the publisher has come to its end.
#pragma once

#include <cstdint>
#include <ipcq/stats.hpp>
#include <string>

#include "common/input.hpp"
#include "publisher.hpp"

namespace ipcq::program {

// Before a producer opens, since one that opens and sends nothing leaves its place in the stream open: throws
// UsageError when a block, a message of --size or a frame of --generate 4k does not fit. 0: none of these.
void require_fit(const QueueStats& queue, const std::string& generate, std::uint64_t block, std::uint64_t size);

// Bytes of a generated message: `size`, or what the queue takes when it is 0. Throws UsageError when it does not fit.
std::uint64_t generated_size(const Publisher& publisher, std::uint64_t size);
void require_frame_fits(const Publisher& publisher);

// The 4K test picture, written straight into the slots. Throws UsageError when a frame does not fit.
void publish_pattern(Publisher& publisher);
// Messages of `size` bytes (0: as large as the queue takes): zeros, or noise that does not compress.
void publish_zeros(Publisher& publisher, std::uint64_t size);
void publish_noise(Publisher& publisher, std::uint64_t size);

// Each line with its newline is a message. Throws Failure at a line that is too long, after all before it were sent.
void publish_lines(Publisher& publisher, Input& input);
// Blocks of `size` bytes. Throws Failure when bytes are left at the end, after all whole blocks were sent.
void publish_blocks(Publisher& publisher, Input& input, std::uint64_t size);

}  // namespace ipcq::program
