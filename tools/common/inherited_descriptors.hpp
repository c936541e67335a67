// The descriptors that a program was started with, as opposed to those that it opens itself. Every program calls
// open_standard_descriptors() first thing in main.
//
// Whatever is opened gets the lowest free number. A program started without a standard input, output or error would
// find a socket or a queue's memory there, print into it, or wait for input from it. And a number on the command line
// may be one that nobody opened before the program did.
#pragma once

#include <string>

namespace ipcq::program {

// Takes the place of 0, 1 or 2 that is closed by the root directory, opened for nothing: to read or write it fails
// (EBADF), and so does opening it to that end (EISDIR), whatever path leads there. /dev/null would take what is meant
// for them. A program that needs them must say that it has none; what is written to 2 is lost. Ends the process where
// that cannot be done.
void open_standard_descriptors() noexcept;
bool was_closed_at_start(int fd) noexcept;

// Whether whoever started the program handed `fd` down, open for reading or for writing.
bool can_read_inherited(int fd) noexcept;
bool can_write_inherited(int fd) noexcept;

// Whether a path leads to a descriptor that was not handed down so: to one of 0 to 2 that was closed, however it is
// spelled, or by a name such as /dev/stdin, /dev/fd/N or /proc/self/fd/N.
bool leads_to_unreadable_descriptor(const std::string& path);
bool leads_to_unwritable_descriptor(const std::string& path);

}  // namespace ipcq::program
