// ipcq-redis add: adds tasks to a stream, now or later, and once where they have a key.
#pragma once

namespace ipcq::bridge {

int add_command(int argc, char** argv);

}  // namespace ipcq::bridge
