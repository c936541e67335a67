#include "commands/commands.hpp"

#include <ipcq/error.hpp>

#include <fmt/format.h>

#include "commands/add.hpp"
#include "commands/examine.hpp"
#include "commands/requeue.hpp"
#include "program/printable.hpp"
#include "program/program.hpp"

namespace ipcq::bridge {

int run_command(std::string_view name, int argc, char** argv) {
  if (name == "add") return add_command(argc, argv);
  if (name == "requeue") return requeue_command(argc, argv);
  if (name == "doctor") return examine_command(argc, argv);
  if (name.empty() || name[0] == '-') return -1;
  program::open_standard_descriptors();
  program::set_up_logging("ipcq-redis");
  return program::run_guarded([&]() -> int {
    throw UsageError(fmt::format("no command '{}'; there are add, requeue and doctor, and without one it bridges",
                                 program::printable(name)));
  });
}

}  // namespace ipcq::bridge
