#include "sources.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <ipcq/error.hpp>
#include <vector>

#include <fmt/format.h>

#include "program/exit_code.hpp"
#include "program/line_splitter.hpp"
#include "program/pattern.hpp"

namespace ipcq::program {
namespace {

constexpr std::size_t kChunk = 1 << 20;

struct Room {
  const std::string& queue;
  std::uint64_t max_bytes;
};

Room room_of(const Publisher& publisher) { return {publisher.queue(), publisher.max_bytes()}; }

void require_room(const Room& room, std::uint64_t size, const char* what, const char* remedy) {
  if (size <= room.max_bytes) return;
  throw UsageError(fmt::format("queue '{}' takes messages of {} bytes at most, but {} has {}: {}", room.queue,
                               room.max_bytes, what, size, remedy));
}

void require_block(const Room& room, std::uint64_t size) {
  require_room(room, size, "a block",
               "lower --block or create the queue with larger slots (up to 2016 bytes also with longer lines)");
}
void require_frame(const Room& room) {
  require_room(room, Pattern4k::kFrameBytes, "a 4K frame", "create the queue with size 4k-rgb");
}
void require_size(const Room& room, std::uint64_t size) {
  require_room(room, size, "a message of --size",
               "lower --size or create the queue with larger slots (up to 2016 bytes also with longer lines)");
}

// Fills a buffer with fill(span), message by message, and sends it: inline messages need no slot.
template <class Fill>
void send_filled(Publisher& publisher, std::uint64_t size, const Fill& fill) {
  std::vector<std::byte> buffer(publisher.batch() * size);
  std::vector<std::span<const std::byte>> batch;
  for (std::size_t i = 0; i < publisher.batch(); ++i) batch.emplace_back(buffer.data() + i * size, size);
  while (publisher.wants_more()) {
    for (std::size_t i = 0; i < publisher.batch(); ++i) fill(std::span(buffer).subspan(i * size, size));
    if (!publisher.send(batch)) return;
  }
}

// Fills each slot with fill(span) and publishes it.
template <class Fill>
void publish_filled(Publisher& publisher, std::uint64_t size, const Fill& fill) {
  if (size <= publisher.inline_bytes()) return send_filled(publisher, size, fill);
  for (;;) {
    Loan loan = publisher.loan();
    if (loan.bytes().empty()) return;
    fill(loan.bytes().first(size));
    if (!publisher.publish(loan, size)) return;
  }
}

[[noreturn]] void refuse_line(const Publisher& publisher, const Input& input, std::uint64_t number, std::size_t length,
                              bool complete) {
  throw Failure(
      kFailure,
      fmt::format("line {} of {} is {}{} bytes long, newline included, but queue '{}' takes {} at most: create the "
                  "queue with larger slots or longer lines, or use --block; the {} lines before it were sent",
                  number, input.name(), complete ? "" : "more than ", length, publisher.queue(), publisher.max_bytes(),
                  publisher.messages()));
}

[[noreturn]] void refuse_remainder(const Publisher& publisher, const Input& input, std::uint64_t size,
                                   std::size_t remainder) {
  throw Failure(kUsage,
                fmt::format("{} is not a whole number of {}-byte blocks: {} blocks were sent, the remainder of {} "
                            "bytes was not; pad the input or choose another --block",
                            input.name(), size, publisher.messages(), remainder));
}

// Reads blocks straight into the slots. They are too large for batches to save time.
void publish_large_blocks(Publisher& publisher, Input& input, std::uint64_t size) {
  for (;;) {
    Loan loan = publisher.loan_patiently();
    if (loan.bytes().empty()) return;
    const std::size_t count = input.read_fully(loan.bytes().first(size));
    if (count < size) {
      // A short block is no error of the input if a stop request has ended the reading.
      if (count != 0 && publisher.wants_more()) refuse_remainder(publisher, input, size, count);
      return;
    }
    if (!publisher.publish(loan, size)) return;
  }
}

}  // namespace

std::uint64_t generated_size(const Publisher& publisher, std::uint64_t size) {
  if (size == 0) return publisher.slot_bytes() != 0 ? publisher.slot_bytes() : publisher.max_bytes();
  require_size(room_of(publisher), size);
  return size;
}

void require_frame_fits(const Publisher& publisher) { require_frame(room_of(publisher)); }

void require_fit(const QueueStats& queue, const std::string& generate, std::uint64_t block, std::uint64_t size) {
  const Room room{queue.name, std::max(queue.slot_bytes, queue.inline_bytes)};
  if (block != 0) require_block(room, block);
  if (size != 0) require_size(room, size);
  if (generate == "4k") require_frame(room);
}

void publish_pattern(Publisher& publisher) {
  require_frame_fits(publisher);
  Pattern4k pattern;
  publish_filled(publisher, Pattern4k::kFrameBytes,
                 [&](std::span<std::byte> frame) { pattern.generate(publisher.messages(), frame); });
}

void publish_zeros(Publisher& publisher, std::uint64_t size) {
  size = generated_size(publisher, size);
  publish_filled(publisher, size, [](std::span<std::byte> bytes) { std::memset(bytes.data(), 0, bytes.size()); });
}

void publish_noise(Publisher& publisher, std::uint64_t size) {
  size = generated_size(publisher, size);
  std::uint64_t state = 0x9e3779b97f4a7c15;
  publish_filled(publisher, size, [&](std::span<std::byte> bytes) {
    for (std::size_t at = 0; at < bytes.size(); at += sizeof state) {
      state ^= state << 13;  // xorshift64
      state ^= state >> 7;
      state ^= state << 17;
      std::memcpy(bytes.data() + at, &state, std::min(sizeof state, bytes.size() - at));
    }
  });
}

void publish_lines(Publisher& publisher, Input& input) {
  LineSplitter splitter(publisher.max_bytes() + kChunk);
  std::vector<std::span<const std::byte>> batch;
  batch.reserve(publisher.batch());
  std::uint64_t number = 0;
  for (bool more = true; more && publisher.wants_more();) {
    const std::span<std::byte> space = splitter.space();
    if (space.empty()) refuse_line(publisher, input, number + 1, splitter.unfinished(), false);
    const std::size_t count = input.read(space);
    more = count != 0;
    if (more) {
      splitter.fill(count);
    } else if (publisher.wants_more()) {
      splitter.finish();
    }
    while (const auto line = splitter.next()) {
      ++number;
      const bool too_long = line->size() > publisher.max_bytes();
      if (!too_long) batch.push_back(std::as_bytes(std::span(*line)));
      if (too_long || batch.size() == publisher.batch()) {
        if (!publisher.send(batch)) return;
        batch.clear();
      }
      if (too_long && publisher.wants_more()) refuse_line(publisher, input, number, line->size(), true);
    }
    if (!publisher.send(batch)) return;  // now, since the next read may wait
    batch.clear();
  }
}

void publish_blocks(Publisher& publisher, Input& input, std::uint64_t size) {
  require_block(room_of(publisher), size);
  if (size > kChunk / 16) return publish_large_blocks(publisher, input, size);
  std::vector<std::byte> buffer(std::max<std::size_t>(1, kChunk / size) * size);
  std::vector<std::span<const std::byte>> batch;
  std::size_t held = 0;
  while (publisher.wants_more()) {
    const std::size_t count = input.read(std::span(buffer).subspan(held));
    if (count == 0) break;
    held += count;
    batch.clear();
    const std::size_t whole = held / size * size;
    for (std::size_t at = 0; at < whole; at += size) batch.emplace_back(buffer.data() + at, size);
    if (!publisher.send(batch)) return;
    std::copy(buffer.begin() + static_cast<std::ptrdiff_t>(whole), buffer.begin() + static_cast<std::ptrdiff_t>(held),
              buffer.begin());
    held -= whole;
  }
  if (held != 0 && publisher.wants_more()) refuse_remainder(publisher, input, size, held);
}

}  // namespace ipcq::program
