#include "commands/commands.hpp"

#include "commands/add.hpp"
#include "commands/examine.hpp"
#include "commands/requeue.hpp"

namespace ipcq::bridge {

int run_command(std::string_view name, int argc, char** argv) {
  if (name == "add") return add_command(argc, argv);
  if (name == "requeue") return requeue_command(argc, argv);
  if (name == "doctor") return examine_command(argc, argv);
  return -1;
}

}  // namespace ipcq::bridge
