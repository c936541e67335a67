// Tests what this machine's GPUs can do for queues, and prints one JSON object to standard output, for `ipcq doctor`.
// Each function is the whole run of a process. Not thread-safe.
#pragma once

namespace ipcq::runner {

// Returns the exit code.
int probe();
// The second process of the test: opens the memory handle (hexadecimal) on `device` and writes to the memory. Prints to
// standard output what failed. Returns the exit code, 0 if nothing failed.
int probe_peer(const char* device, const char* handle);

}  // namespace ipcq::runner
