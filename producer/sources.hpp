// The sources of a producer's messages. Each publish function returns when its source has ended or the publisher wants
// no more. For the publisher's thread.
#pragma once

#include <cstdint>
#include <ipcq/stats.hpp>
#include <string>

#include "program/input.hpp"
#include "publisher.hpp"

namespace ipcq::program {

// Throws UsageError when a block, a message of --size, or a frame of --generate 4k does not fit. 0: no such block or
// size. Called before the producer opens: one that opens, and ends without a message, leaves its place in the stream
// open.
void require_fit(const QueueStats& queue, const std::string& generate, std::uint64_t block, std::uint64_t size);

// The bytes of a generated message: `size`; 0: as many as the queue takes. Throws UsageError when that does not fit.
std::uint64_t generated_size(const Publisher& publisher, std::uint64_t size);
void require_frame_fits(const Publisher& publisher);

// Writes the 4K test picture straight into the slots. Throws UsageError when a frame does not fit.
void publish_pattern(Publisher& publisher);
// Messages of `size` bytes (0: as large as the queue takes): zeros, or noise that does not compress.
void publish_zeros(Publisher& publisher, std::uint64_t size);
void publish_noise(Publisher& publisher, std::uint64_t size);

// Each line with its newline is a message. Throws Failure at a line that is too long, after all before it were sent.
void publish_lines(Publisher& publisher, Input& input);
// Blocks of `size` bytes. Throws Failure when bytes are left at the end, after all whole blocks were sent.
void publish_blocks(Publisher& publisher, Input& input, std::uint64_t size);

}  // namespace ipcq::program
