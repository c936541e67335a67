// A handler of the user's that was compiled for the host, loaded into this process.
#pragma once

#include <memory>
#include <string>

#include "base/os.hpp"
#include "layout/host_image.hpp"

namespace ipcq::runner {

// For one thread to load and unload; run() of the table from many.
class HostImageFile {
 public:
  // Loads the shared object behind the descriptor, and makes its handler. `object` begins the texts of errors. Throws
  // BackendError: it is damaged, made by a compiler of another release, or needs a library that is not there;
  // UsageError: the handler does not take these arguments, or takes state and there is none, or the other way round.
  // `state`: of the queue, with no bytes if it has none; outlives the object.
  HostImageFile(detail::Fd file, const std::string& object, const std::string& arguments, State state);
  ~HostImageFile();
  HostImageFile(const HostImageFile&) = delete;
  HostImageFile& operator=(const HostImageFile&) = delete;

  const detail::HostImage& table() const noexcept { return *table_; }
  const void* handler() const noexcept { return handler_; }
  bool is_serial() const noexcept { return is_serial_; }

 private:
  void load(const std::string& object);
  void unload() noexcept;
  void make(const std::string& object, const std::string& arguments, State state);

  detail::Fd file_;
  std::string path_;
  void* library_ = nullptr;
  const detail::HostImage* table_ = nullptr;
  void* handler_ = nullptr;
  bool is_serial_ = false;
};

}  // namespace ipcq::runner
