// QueueOptions::handler as text: a built-in name, or FILE:NAME=VALUE:NAME=VALUE.
//
// Thread safety: the functions keep no state.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "layout/handler_arguments.hpp"

namespace ipcq::detail {

// At the end of what ipcq-compiler says of an image whose kernels call the handler and have not inlined it, behind
// which stands its key: the image is for the time until there is one of the same key that is inlined.
inline constexpr std::string_view kLinkedOnly = ": linked, not inlined; key ";

struct HandlerText {
  std::string file;       // or the name
  std::string arguments;  // "level=7:rate=0.5"; empty: none
};
// The arguments begin behind the first colon that follows a handler's ending, so a path may have others.
HandlerText split_handler(const std::string& handler);
// What ends in .cu, .cpp, .cc or .cxx.
bool is_source_file(const std::string& file) noexcept;
// These, and what is compiled already: .so, .ptx, .ltoir, .o.
bool has_handler_ending(const std::string& file) noexcept;
// What headers of segments and a runner's messages call it: the last part of a file's path, cut off.
std::string handler_label(const std::string& handler);

// Throws UsageError, whose text begins with `object`: no NAME=VALUE, a name twice or too long, too many.
std::vector<HandlerArgument> parse_arguments(const std::string& object, const std::string& text);
// Throws UsageError unless the handler takes state where its queue has some, and only there.
void check_state(const HandlerReport& report, std::uint64_t state_bytes, const std::string& object);
// Why the handler does not take its arguments, for an error.
std::string text_of(const HandlerReport& report, const std::vector<HandlerArgument>& arguments);

}  // namespace ipcq::detail
