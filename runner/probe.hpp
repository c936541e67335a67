// What this machine's GPUs can do for queues: one JSON object on standard output, for `ipcq doctor`.
#pragma once

namespace ipcq::runner {

int probe();
// The other process of the check: opens the memory handle (hexadecimal) on `device` and writes there. Says on standard
// output what failed; exit code 0 when nothing did.
int probe_peer(const char* device, const char* handle);

}  // namespace ipcq::runner
