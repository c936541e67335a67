// The descriptors that a program was started with, as opposed to those that it opens itself. Every program calls
// open_standard_descriptors() first thing in main.
//
// Whatever is opened gets the lowest free number. A program started without a standard input, output or error would
// find a socket or a queue's memory there, print into it, or wait for input from it. And a number on the command line
// may be one that nobody opened before the program did.
#pragma once

#include <string_view>

namespace ipcq::program {

// Puts /dev/null where 0, 1 or 2 is closed. 0 cannot be read and 1 not written even so (EBADF): a program that needs
// them must say that it has none. What is written to 2 is lost. Ends the process where that cannot be done.
void open_standard_descriptors() noexcept;

// Whether whoever started the program handed `fd` down, open for reading or for writing.
bool can_read_inherited(int fd) noexcept;
bool can_write_inherited(int fd) noexcept;

// The descriptor that a path is another name of: /dev/stdin, /dev/stdout, /dev/stderr, /dev/fd/N or /proc/self/fd/N.
// -1 for other paths.
int descriptor_named(std::string_view path) noexcept;

}  // namespace ipcq::program
