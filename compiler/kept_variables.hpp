// Which variables of a handler's file may keep a value between messages. Where another image of the same file takes the
// place of one, they would begin anew.
#pragma once

#include <string>

namespace ipcq::compiler {

// The name of one, by the PTX of the file; empty: it tells of none. What keeps a value and is not found: what is
// written through an address that has left the function which took it. What is found and keeps none: some constants in
// memory.
std::string kept_variable(const std::string& ptx);

}  // namespace ipcq::compiler
