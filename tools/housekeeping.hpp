// ipcq list and ipcq clean: show this user's brokers, and remove the names that dead ones have left.
#pragma once

namespace ipcq::program {

int list_command(bool json);
// Removes the names of dead brokers. dry_run: only lists them.
int clean_command(bool dry_run, bool json);

}  // namespace ipcq::program
