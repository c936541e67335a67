#include "program/line_splitter.hpp"

#include <cstring>

namespace ipcq::program {

LineSplitter::LineSplitter(std::size_t capacity)
    : capacity_(capacity), buffer_(std::make_unique_for_overwrite<char[]>(capacity)) {}

std::span<std::byte> LineSplitter::space() {
  std::memmove(buffer_.get(), buffer_.get() + begin_, end_ - begin_);
  end_ -= begin_;
  scanned_ -= begin_;
  begin_ = 0;
  return std::as_writable_bytes(std::span(buffer_.get() + end_, capacity_ - end_));
}

std::optional<std::string_view> LineSplitter::next() noexcept {
  const char* const data = buffer_.get();
  const void* const newline = std::memchr(data + scanned_, '\n', end_ - scanned_);
  std::size_t line_end = end_;
  if (newline != nullptr) {
    line_end = static_cast<std::size_t>(static_cast<const char*>(newline) - data) + 1;
  } else if (!finished_ || begin_ == end_) {
    scanned_ = end_;
    return std::nullopt;
  }
  const std::string_view line(data + begin_, line_end - begin_);
  begin_ = scanned_ = line_end;
  return line;
}

}  // namespace ipcq::program
