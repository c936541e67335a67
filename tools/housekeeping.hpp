// ipcq list and ipcq clean: brokers of this user, and what dead ones left behind.
#pragma once

namespace ipcq::program {

int list_command(bool json);
// Removes the names of dead brokers; dry_run: only says which.
int clean_command(bool dry_run, bool json);

}  // namespace ipcq::program
