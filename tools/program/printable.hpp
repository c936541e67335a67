// Makes text of users and peers safe to print: a name or a path may contain a sequence that clears the terminal, or a
// newline and a forged line of the program. Thread-safe.
#pragma once

#include <string>
#include <string_view>

namespace ipcq::program {

// The text with control characters, except those in `kept`, as \xNN.
std::string printable(std::string_view text, std::string_view kept = {});

}  // namespace ipcq::program
