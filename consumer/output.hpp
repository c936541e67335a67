// Output: writes payloads straight out of shared memory to a file or standard output, or messages as lines of JSON. For
// one thread.
//
// Invariants: a message is released only after write(2) has taken all its bytes; the others are given back to the
// queue. The former content of a file stays until begin(), so that a consumer that cannot attach does not destroy it.
#pragma once

#include <functional>
#include <ipcq/message.hpp>
#include <ipcq/schema.hpp>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "program/file_descriptor.hpp"
#include "program/signals.hpp"
#include "program/stoppable_io.hpp"

namespace ipcq::program {

class Output {
 public:
  // "-" is standard output. Opens an existing file without changing it; waits for the reader of a fifo. Throws Failure
  // if the output cannot be written.
  Output(const std::string& path, const Signals& signals);

  // Has each message written as a line of JSON, as the schema says whose text `schema_now` returns, asked for with each
  // write(). A message that is none of it becomes the line null, with a warning.
  void decode_by(std::function<std::string()> schema_now) { schema_now_ = std::move(schema_now); }
  // Truncates or creates the file. Called before write(). Throws Failure.
  void begin();

  enum class Written { all, reader_gone, stopped };
  // Writes the messages in order; calls count(message) for each that is written whole, and releases it. Gives the rest
  // back when the reader has closed a pipe, when a stop is requested, and on any other error, which it throws as
  // Failure.
  Written write(std::span<Message> messages, const std::function<void(const Message&)>& count);
  // The number of messages given back so far.
  std::uint64_t returned() const noexcept { return returned_; }
  // Called before the program reports success: throws Failure for an error that only closing shows (a quota, a network
  // file system).
  void close();

 private:
  void open_existing(int flags);
  void require_directory() const;
  void decode(std::span<Message> messages);
  std::string decoded(const Message& message) const;
  std::span<const std::byte> text_of(std::span<Message> messages, std::size_t i) const;
  int write_all(std::span<Message> messages);
  void warn_of_torn(std::size_t bytes) const;

  std::string path_;
  std::string name_;
  const Signals& signals_;
  StopGrace grace_;  // for the message that is being written when a stop is requested
  FileDescriptor fd_;
  bool is_file_ = true;  // begin() truncates or creates it
  std::size_t written_ = 0;
  std::uint64_t returned_ = 0;
  std::function<std::string()> schema_now_;  // none: payloads are written
  std::optional<Schema> schema_;
  std::vector<std::string> lines_;  // of the messages that write() has, where they are decoded
  std::size_t torn_ = 0;            // bytes written of the first message that is not written whole
};

}  // namespace ipcq::program
