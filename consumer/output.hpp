// Output: writes payloads straight out of shared memory. A message is released only once all its bytes were handed to
// write(); what was not written is given back to the queue.
//
// What the file held stays until begin(): a consumer that cannot attach must not cost the result of the last one.
#pragma once

#include <functional>
#include <ipcq/message.hpp>
#include <span>
#include <string>

#include "common/file_descriptor.hpp"
#include "common/signals.hpp"
#include "common/stoppable_io.hpp"

namespace ipcq::program {

class Output {
 public:
  // "-" is standard output. Opens what is there, without changing it; waits for the reader of a fifo. Throws Failure
  // where nothing can be written.
  Output(const std::string& path, const Signals& signals);

  // Empties a file, or makes it. Throws Failure when that cannot be. Before write().
  void begin();

  enum class Written { all, reader_gone, stopped };
  // Writes the messages in order, calls count(message) for each that is out whole, and releases it. The rest is given
  // back when the reader has gone (closed pipe), when a stop is requested, and on any other error, which it throws as
  // Failure.
  Written write(std::span<Message> messages, const std::function<void(const Message&)>& count);
  // How many went back so far.
  std::uint64_t returned() const noexcept { return returned_; }
  // Before the program reports success: an error that only closing shows (a quota, a network file system).
  void close();

 private:
  void open_existing(int flags);
  void require_directory() const;
  int write_all(std::span<Message> messages);
  void warn_of_torn(const Message& message) const;

  std::string path_;
  std::string name_;
  const Signals& signals_;
  StopGrace grace_;  // of the one message that is finished after a stop
  FileDescriptor fd_;
  bool is_file_ = true;  // which is to be emptied, or made
  std::size_t written_ = 0;
  std::uint64_t returned_ = 0;
  std::size_t torn_ = 0;  // bytes of the first message that is not out whole
};

}  // namespace ipcq::program
