// Makes text of users and peers safe to print: a name or a path may contain a sequence that clears the terminal, or a
// newline and a forged line of the program. Thread-safe.
#pragma once

#include <string>
#include <string_view>

namespace ipcq::program {

// The text with control characters, except those in `kept`, as \xNN.
std::string printable(std::string_view text, std::string_view kept = {});
// A message for a log, which may go on below its first line: a newline behind which the text is indented by two spaces
// stays one, since what follows cannot be taken for a line of its own.
std::string printable_message(std::string_view text);

}  // namespace ipcq::program
