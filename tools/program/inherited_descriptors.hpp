// Tells the descriptors that a program was started with from those that it opens itself.
//
// The lowest free number goes to the next descriptor that is opened. So a program started without a standard input,
// output or error could have a socket or a queue's memory there, and print into it or read from it; and a descriptor
// that the command line names could be one that the program has opened.
//
// Every program calls open_standard_descriptors() first in main, before a second thread starts; the other functions are
// thread-safe after that.
#pragma once

#include <string>

namespace ipcq::program {

// Opens the root directory with O_PATH at each of 0, 1 and 2 that is closed. A read or write of it fails (EBADF), and
// so does opening a path that leads there (EISDIR); /dev/null would silently take what a program prints. Lines of the
// log, which go to 2, are lost. Ends the process if this fails.
void open_standard_descriptors() noexcept;
bool was_closed_at_start(int fd) noexcept;

// Whether the program was started with `fd` open for reading, or for writing.
bool can_read_inherited(int fd) noexcept;
bool can_write_inherited(int fd) noexcept;

// Whether a path (/dev/stdin, /dev/fd/N, /proc/self/fd/N, or any other that leads to one of 0 to 2) names a descriptor
// that the program was not started with, open for reading, or for writing.
bool leads_to_unreadable_descriptor(const std::string& path);
bool leads_to_unwritable_descriptor(const std::string& path);

}  // namespace ipcq::program
