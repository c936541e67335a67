#include "output.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ipcq/error.hpp>
#include <utility>

#include <fmt/format.h>

#include "program/exit_code.hpp"
#include "program/inherited_descriptors.hpp"
#include "program/logging.hpp"
#include "program/stoppable_io.hpp"

namespace ipcq::program {
namespace {

constexpr int kFlags = O_WRONLY | O_CLOEXEC | O_NOCTTY;

[[noreturn]] void refuse(const std::string& name, int error) {
  throw Failure(error == EACCES || error == EPERM ? kPermission : kUsage,
                fmt::format("cannot write to {}: {}", name, std::strerror(error)));
}

}  // namespace

Output::Output(const std::string& path, const Signals& signals)
    : path_(path), name_(path == "-" ? "standard output" : "output '" + path + "'"), signals_(signals) {
  if (path == "-" ? !can_write_inherited(STDOUT_FILENO) : leads_to_unwritable_descriptor(path)) {
    throw Failure(kUsage,
                  fmt::format("cannot write to {}: it was not open for writing when this program started", name_));
  }
  if (path == "-") {
    fd_ = FileDescriptor(STDOUT_FILENO);
    is_file_ = false;
  } else {
    open_existing(kFlags);
  }
}

void Output::open_existing(int flags) {
  fd_ = FileDescriptor(::open(path_.c_str(), flags));
  if (!fd_.valid()) {
    if (errno != ENOENT) refuse(name_, errno);
    return require_directory();
  }
  struct stat status {};
  is_file_ = ::fstat(fd_.get(), &status) == 0 && S_ISREG(status.st_mode);
}

// For a file that begin() will create: reports a missing directory before the consumer joins its group. A dangling link
// is left to begin().
void Output::require_directory() const {
  struct stat status {};
  if (::lstat(path_.c_str(), &status) == 0) return;
  const std::size_t slash = path_.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : path_.substr(0, slash + 1);
  if (::faccessat(AT_FDCWD, directory.c_str(), W_OK | X_OK, AT_EACCESS) != 0) refuse(name_, errno);
}

void Output::begin() {
  if (!is_file_) return;
  if (!fd_.valid()) fd_ = FileDescriptor(::open(path_.c_str(), kFlags | O_CREAT, 0666));
  struct stat status {};
  if (!fd_.valid() || ::fstat(fd_.get(), &status) != 0) refuse(name_, errno);
  if (S_ISREG(status.st_mode) && ::ftruncate(fd_.get(), 0) != 0) refuse(name_, errno);
}

Output::Written Output::write(std::span<Message> messages, const std::function<void(const Message&)>& count) {
  written_ = torn_ = 0;
  if (schema_now_) decode(messages);
  const int error = write_all(messages);
  if (torn_ != 0) warn_of_torn(text_of(messages, written_).size());
  // A release fails only when the broker is gone, as the next receive reports.
  for (Message& message : messages.first(written_)) {
    count(message);
    static_cast<void>(message.release());
  }
  for (Message& message : messages.subspan(written_)) returned_ += message.nack() == Status::ok ? 1 : 0;
  if (error == 0) return Written::all;
  if (error == EPIPE) return Written::reader_gone;
  if (error == ECANCELED) return Written::stopped;
  throw Failure(kFailure, fmt::format("cannot write to {}: {}; the messages not written went back to the queue", name_,
                                      std::strerror(error)));
}

// The queue may have been given another type since the last write().
void Output::decode(std::span<Message> messages) {
  const std::string text = schema_now_();
  if (!schema_ || schema_->text() != text) schema_ = Schema::parse(text);
  lines_.clear();
  for (const Message& message : messages) lines_.push_back(decoded(message));
}

std::string Output::decoded(const Message& message) const {
  if (!message.processed()) {
    log::warn("ticket {}: the queue's handler refused it or failed on it, so it is no value", message.ticket());
    return "null\n";
  }
  try {
    return schema_->to_json(message.bytes(), message.metadata()) + '\n';
  } catch (const UsageError& error) {
    log::warn("ticket {}: {}", message.ticket(), error.what());
    return "null\n";
  }
}

// What is written of a message.
std::span<const std::byte> Output::text_of(std::span<Message> messages, std::size_t i) const {
  return schema_now_ ? std::as_bytes(std::span(lines_[i])) : messages[i].bytes();
}

// Sets written_ to the number of messages written whole. Returns 0 if these are all, else an errno.
int Output::write_all(std::span<Message> messages) {
  while (written_ < messages.size()) {
    if (torn_ == 0 && signals_.stop_requested()) return ECANCELED;
    std::array<iovec, 64> parts;
    const std::size_t rest = std::min(parts.size(), messages.size() - written_);
    for (std::size_t i = 0; i < rest; ++i) {
      const auto bytes = text_of(messages, written_ + i).subspan(i == 0 ? torn_ : 0);
      parts[i] = {const_cast<std::byte*>(bytes.data()), bytes.size()};  // NOLINT: writev only reads
    }
    // After a stop request only the message that is begun is finished.
    const std::size_t wanted = signals_.stop_requested() ? 1 : rest;
    const ssize_t count = write_some(fd_.get(), std::span(parts).first(wanted), &signals_, grace_);
    if (count < 0) return static_cast<int>(-count);
    torn_ += static_cast<std::size_t>(count);
    for (; written_ < messages.size() && torn_ >= text_of(messages, written_).size(); ++written_) {
      torn_ -= text_of(messages, written_).size();
    }
  }
  return 0;
}

void Output::warn_of_torn(std::size_t bytes) const {
  log::warn("{} has the first {} of the {} bytes of a message that went back to the queue", name_, torn_, bytes);
}

void Output::close() {
  if (fd_.get() <= STDERR_FILENO) return;
  if (::close(fd_.release()) != 0) {
    throw Failure(kFailure, fmt::format("cannot finish {}: {}", name_, std::strerror(errno)));
  }
}

}  // namespace ipcq::program
