// LineSplitter: cuts a byte stream that arrives in chunks into lines, without copying them out of its buffer.
//
//   while (read into space(), fill(n)) while (auto line = next()) use(*line);
//   finish(); then next() also returns the rest after the last newline, if any.
//
// For one thread. Invariant: a line of up to `capacity` bytes is contiguous in the buffer.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

namespace ipcq::program {

class LineSplitter {
 public:
  // Lines of up to `capacity` bytes, newline included, come out whole.
  explicit LineSplitter(std::size_t capacity);

  // Where the next bytes of the stream go. Invalidates all lines returned so far. Empty when the unfinished line fills
  // the buffer: it is longer than `capacity`.
  std::span<std::byte> space();
  void fill(std::size_t bytes) noexcept { end_ += bytes; }
  // The stream has ended: bytes after the last newline are a line.
  void finish() noexcept { finished_ = true; }

  // Next line with its newline; none when more input is needed. Views stay valid until space().
  std::optional<std::string_view> next() noexcept;

  // Bytes that belong to no complete line yet.
  std::size_t unfinished() const noexcept { return end_ - begin_; }

 private:
  std::size_t capacity_;
  std::unique_ptr<char[]> buffer_;
  std::size_t begin_ = 0;    // first byte not yet handed out
  std::size_t scanned_ = 0;  // no newline in [begin_, scanned_)
  std::size_t end_ = 0;
  bool finished_ = false;
};

}  // namespace ipcq::program
