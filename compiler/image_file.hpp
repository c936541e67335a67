// Where images are written to, and read from, byte by byte. Errors name the file or the descriptor.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace ipcq::compiler {

// All or nothing, where the path is a file or there is none. Throws program::Failure.
void write_file(const std::string& path, std::string_view bytes);

// Makes `bytes` the contents of the file behind `fd`, from offset 0, wherever the descriptor stands. False, with errno,
// on an error: ESPIPE or EINVAL where it is no file.
bool write_descriptor(int fd, std::string_view bytes) noexcept;

// What the file behind `fd` holds, from offset 0; none on an error.
std::optional<std::string> read_descriptor(int fd);

}  // namespace ipcq::compiler
