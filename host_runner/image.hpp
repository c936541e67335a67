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
  // Loads the shared object behind the descriptor. `label`: what the handler's file is called. Throws BackendError: it
  // is damaged, made by a compiler of another release, or needs a library that is not there.
  HostImageFile(detail::Fd file, const std::string& label);
  ~HostImageFile();
  HostImageFile(const HostImageFile&) = delete;
  HostImageFile& operator=(const HostImageFile&) = delete;

  const detail::HostImage& table() const noexcept { return *table_; }

 private:
  detail::Fd file_;
  void* library_ = nullptr;
  const detail::HostImage* table_ = nullptr;
};

}  // namespace ipcq::runner
