// Output: writes payloads straight out of shared memory. A message is released only once all its bytes were handed to
// write(); what was not written is given back to the queue.
#pragma once

#include <functional>
#include <ipcq/message.hpp>
#include <span>
#include <string>

#include "common/file_descriptor.hpp"

namespace ipcq::program {

class Output {
 public:
  // "-" is standard output. Throws Failure when the file cannot be made.
  explicit Output(const std::string& path);

  // Writes the messages in order, calls count(message) for each that is out whole, and releases it. False when the
  // reader has gone (closed pipe). Throws Failure on any other error. In both cases the rest is given back.
  bool write(std::span<Message> messages, const std::function<void(const Message&)>& count);
  // Before the program reports success: an error that only closing shows (a quota, a network file system).
  void close();

 private:
  int write_all(std::span<Message> messages);

  std::string name_;
  FileDescriptor fd_;
  std::size_t written_ = 0;
};

}  // namespace ipcq::program
