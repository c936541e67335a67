// A handler's file, and of a source the one text that it is compiled as: what stands before it, the file, and the
// kernels or the host's table behind it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "nvrtc.hpp"

namespace ipcq::compiler {

// A header that the program has in it: the library's, its own, or what stands for one of the standard library.
struct EmbeddedHeader {
  std::string_view name;  // as it is included
  std::string_view text;
};
// Generated from the headers (cmake/IpcqDeviceCode.cmake).
const std::vector<EmbeddedHeader>& device_headers();
const std::vector<EmbeddedHeader>& host_headers();

// What a handler's file is, by the ending of its name.
enum class HandlerKind {
  source,   // .cu, .cpp, and whatever is none of the others
  library,  // .so: built ahead, by ipcq_add_handler()
  ptx,      // .ptx, .ltoir: ipcq_handle() for a GPU, of any compiler
  ltoir,
  object,  // .o: ipcq_handle() for the host, of any compiler; may have LTO-IR for a GPU in a section
};

struct HandlerSource {
  std::string path;  // of the user's file, as messages are to call it; without control characters
  HandlerKind kind = HandlerKind::source;
  std::string text;                       // what the file holds
  std::string architecture;               // "sm_90"; empty: for the host
  std::vector<std::string> definitions;   // NAME or NAME=VALUE
  std::vector<std::string> include_dirs;  // beside the file's own
  std::string element;     // of an object's device code: its type, as NumPy calls it; empty: ipcq_handle()
  bool has_state = false;  // the queue does: a C function gets it, and is serial then

  bool for_host() const { return architecture.empty(); }
  bool is_linked() const {
    return kind == HandlerKind::ptx || kind == HandlerKind::ltoir || kind == HandlerKind::object;
  }
  // Of the file; "." where the path has none.
  std::string folder() const;
  // Sets `kind` and `text` by the file at `path`, which may be a pipe. Throws program::Failure where it cannot be read,
  // or is to be a source and is no text.
  void read();
  // Of an object, for a GPU: it becomes the LTO-IR that is in it. Throws program::Failure where there is none.
  void take_device_code();
  // Whether it is an object with LTO-IR for a GPU.
  bool has_device_code() const;
};

// For NVRTC. The kernels are called ipcq_<what>_user; a variable ipcq_device_code_<hash> says with which code they were
// made. For a file that is linked: LTO-IR that calls its function.
Program device_program(const HandlerSource& source);

// For NVRTC: the handler of a source file by itself, a relocatable cubin that the quick kernels are linked with.
Program quick_program(const HandlerSource& source);

// For the host: files by their paths below one folder, and a text that is compiled with that folder among those of its
// headers and with these options. What it includes by <user/handler.cu> is the user's file; of an object, which it is
// linked with, the declaration of its function.
Program host_program(const HandlerSource& source);

}  // namespace ipcq::compiler
